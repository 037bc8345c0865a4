import type { ServerResponse } from 'node:http'

const NAME = 'www-authenticate'

/**
 * All `WWW-Authenticate` values of a response whose head is about to be written. Headers given to `writeHead`
 * replace those set before: an object, pairs, or a flat array in which the name may be repeated.
 */
export function challengeValues(res: ServerResponse, explicit: unknown): string[] {
  const given = explicitValues(explicit)
  return given.length > 0 ? given : strings(res.getHeader(NAME))
}

function explicitValues(headers: unknown): string[] {
  if (typeof headers !== 'object' || headers === null) return []
  return entriesOf(headers).flatMap(([name, value]) =>
    typeof name === 'string' && name.toLowerCase() === NAME ? strings(value) : [],
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
  return [value].flat().filter((item) => typeof item === 'string')
}
