import { McpDcrError } from '../errors.js'
import { isObject } from '../json-object.js'
import type { RecordData } from './contract.js'

/**
 * The data of a record in a database, where somebody may have altered it.
 *
 * @throws McpDcrError `store_corrupt`
 */
export function parseData(json: string): RecordData {
  const data = parseStored(json)
  if (!isObject(data)) throw altered()
  return data
}

/** @throws McpDcrError `store_corrupt` */
export function parseStored(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw altered(cause)
  }
}

/** What is stored is not what was written. */
export function altered(cause?: unknown): McpDcrError {
  return new McpDcrError('store_corrupt', 'A record in the store is not as it was written.', {
    cause,
    fix: 'Restore it from a backup, or delete it in the database.',
  })
}

/** For lists: a record that was altered is left out, and keeps nobody from the others. */
export function unlessAltered<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof McpDcrError && error.code === 'store_corrupt') return undefined
    throw error
  }
}
