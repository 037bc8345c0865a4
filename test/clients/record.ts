import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PAGE = join(import.meta.dirname, '../../docs/clients.md')
const HEADING = '## Recorded runs'

/** What was said at each step, by gateway and client. */
export interface Run {
  readonly gateway: string
  readonly caller: string
  readonly steps: (readonly [step: string, said: string])[]
}

/** Puts the runs in the place of those that the page has. */
export function writeRuns(runs: readonly Run[], intro: string): void {
  const page = readFileSync(PAGE, 'utf8')
  const before = page.slice(0, page.indexOf(HEADING))
  const gateways = [...new Set(runs.map(({ gateway }) => gateway))].map(
    (gateway) => `### ${capitalized(gateway)}\n\n${blocks(runs.filter((it) => it.gateway === gateway))}`,
  )
  writeFileSync(PAGE, `${before}${HEADING}\n\n${intro}\n\n${gateways.join('\n')}`)
}

/** Clients that said the same stand together. */
function blocks(runs: readonly Run[]): string {
  const callers = new Map<string, string[]>()
  for (const { caller, steps } of runs) {
    const width = Math.max(...steps.map(([step]) => step.length))
    const text = steps
      .map(([step, said]) => `${step.padEnd(width)}  ${said.replaceAll('\n', `\n${' '.repeat(width + 2)}`)}`)
      .join('\n')
    callers.set(text, [...(callers.get(text) ?? []), caller])
  }
  return [...callers]
    .map(([text, names]) => `${names.join('; ')}:\n\n\`\`\`text\n${text}\n\`\`\`\n`)
    .join('\n')
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
