import { McpDcrError } from '../errors.js'
import { isObject } from '../json-object.js'
import { createEntry, isExpired, putEntry, type Entry, type Tables } from './entry.js'

const VERSION = 1

/** The member that says which format it is; no collection may have its name. */
export const VERSION_MEMBER = 'version'

/** How much of the file is made at once, in characters: between two parts, others have their turn. */
const PART = 256 * 1024

/**
 * Readable JSON, one record per line, in parts. Expired records are left out.
 *
 * @returns parts that are made when they are asked for, of the tables as they are now
 */
export function renderTables(tables: Tables, now: number): Iterable<string> {
  return inParts(
    lines(
      [...tables].map(([collection, table]) => [collection, [...table]]),
      now,
    ),
  )
}

type Snapshot = readonly (readonly [collection: string, entries: readonly (readonly [string, Entry])[]])[]

function* lines(snapshot: Snapshot, now: number): Generator<string> {
  yield `{"${VERSION_MEMBER}":${VERSION}`
  for (const [collection, entries] of snapshot) {
    yield `,\n${JSON.stringify(collection)}:{`
    let separator = '\n'
    for (const [key, entry] of entries) {
      if (isExpired(entry, now)) continue
      yield `${separator}${JSON.stringify(key)}:${renderEntry(entry)}`
      separator = ',\n'
    }
    yield '\n}'
  }
  yield '\n}\n'
}

function* inParts(texts: Iterable<string>): Generator<string> {
  let part = ''
  for (const text of texts) {
    part += text
    if (part.length < PART) continue
    yield part
    part = ''
  }
  yield part
}

function renderEntry({ version, expiresAt, json }: Entry): string {
  const expiry = expiresAt === undefined ? '' : `"expiresAt":${expiresAt},`
  return `{"version":${JSON.stringify(version)},${expiry}"data":${json}}`
}

/**
 * @param path for the message
 * @throws McpDcrError `store_corrupt`.
 */
export function parseTables(path: string, bytes: Uint8Array): Tables {
  const content = parseJson(path, bytes)
  if (!isObject(content) || content[VERSION_MEMBER] !== VERSION) {
    throw corrupt(path, `it does not begin with "${VERSION_MEMBER}": ${VERSION}`)
  }
  const tables: Tables = new Map()
  for (const [collection, table] of Object.entries(content)) {
    if (collection === VERSION_MEMBER) continue
    if (!isObject(table)) throw corrupt(path, 'a collection is not an object')
    for (const [key, record] of Object.entries(table))
      putEntry(tables, collection, key, parseEntry(path, record))
  }
  return tables
}

function parseEntry(path: string, record: unknown): Entry {
  if (!isObject(record)) throw corrupt(path, 'a record is not an object')
  const { version, data, expiresAt } = record
  if (typeof version !== 'string' || version === '' || !isObject(data)) {
    throw corrupt(path, 'a record lacks its version or its data')
  }
  // 1e999 is infinite, and could not be written again.
  if (expiresAt !== undefined && !(typeof expiresAt === 'number' && Number.isFinite(expiresAt)))
    throw corrupt(path, 'a record’s expiresAt is not a number')
  try {
    return createEntry(data, expiresAt === undefined ? {} : { expiresAt }, version)
  } catch {
    // The stack has an end.
    throw corrupt(path, 'a record is nested too deeply')
  }
}

function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // Without the cause: V8 quotes the text that it could not parse.
    throw corrupt(path, 'it is not valid JSON')
  }
}

function corrupt(path: string, why: string): McpDcrError {
  return new McpDcrError('store_corrupt', `The store ${path} is damaged: ${why}. It was left as it is.`, {
    fix: 'Restore it from a backup; or move it away, and everyone signs in again.',
  })
}
