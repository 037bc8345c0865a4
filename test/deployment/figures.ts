/** Prints what a scenario came to; docs/deployment.md quotes it. */
export function figure(scenario: string, values: Record<string, string | number>): void {
  const parts = Object.entries(values).map(([name, value]) => `${name}: ${value}`)
  console.log(`${scenario} — ${parts.join(', ')}`)
}
