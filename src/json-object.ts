/** Whether a parsed JSON value is an object, and no list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object without these members. */
export function omit(
  from: Readonly<Record<string, unknown>>,
  names: readonly (string | undefined)[],
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name)))
}
