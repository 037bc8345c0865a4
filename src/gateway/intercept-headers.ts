import type { ServerResponse } from 'node:http'

/**
 * All values of a header of a response whose head is about to be written. Headers given to `writeHead`
 * replace those set before: an object, pairs, or a flat array in which the name may be repeated.
 *
 * @param name in lower case
 */
export function headerValues(res: ServerResponse, explicit: unknown, name: string): string[] {
  const given = explicit === undefined ? [] : explicitValues(explicit, name)
  return given.length > 0 ? given : strings(res.getHeader(name))
}

/** As {@link headerValues}, the first of them. */
export function headerValue(res: ServerResponse, explicit: unknown, name: string): string | undefined {
  const set = explicit === undefined ? res.getHeader(name) : undefined
  return typeof set === 'string' ? set : headerValues(res, explicit, name)[0]
}

function explicitValues(headers: unknown, wanted: string): string[] {
  if (typeof headers !== 'object' || headers === null) return []
  return entriesOf(headers).flatMap(([name, value]) =>
    typeof name === 'string' && name.toLowerCase() === wanted ? strings(value) : [],
  )
}

function entriesOf(headers: object): (readonly [unknown, unknown])[] {
  if (!Array.isArray(headers)) return Object.entries(headers)
  if (Array.isArray(headers[0])) return headers as [unknown, unknown][]
  const entries: [unknown, unknown][] = []
  for (let i = 0; i + 1 < headers.length; i += 2) entries.push([headers[i], headers[i + 1]])
  return entries
}

function strings(value: unknown): string[] {
  if (value === undefined) return []
  return [value].flat().filter((item) => typeof item === 'string')
}
