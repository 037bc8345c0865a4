import { randomBytes } from 'node:crypto'
import type { RecordData, SetOptions, StoredRecord } from './contract.js'

/** A record in memory. Its data is frozen; a change replaces the entry. */
export interface Entry extends StoredRecord {
  /** Epoch milliseconds; undefined is never. */
  readonly expiresAt: number | undefined
  /** The record's content as JSON, made once. */
  readonly json: string
}

/** Records by collection and key. Maps, since `__proto__` is a key like any other. */
export type Tables = Map<string, Map<string, Entry>>

/** @param version that of an entry which was stored before; a new one by default */
export function createEntry(data: RecordData, { expiresAt }: SetOptions = {}, version = newVersion()): Entry {
  const json = JSON.stringify(data)
  return { json, data: deepFreeze(JSON.parse(json) as RecordData), expiresAt, version }
}

/** Random, not counted: it must differ from those of a deleted record and of earlier runs. */
export function newVersion(): string {
  return randomBytes(9).toString('base64url')
}

export function findEntry(tables: Tables, collection: string, key: string): Entry | undefined {
  return tables.get(collection)?.get(key)
}

export function putEntry(tables: Tables, collection: string, key: string, entry: Entry | undefined): void {
  let table = tables.get(collection)
  if (table === undefined) {
    table = new Map<string, Entry>()
    tables.set(collection, table)
  }
  if (entry === undefined) table.delete(key)
  else table.set(key, entry)
}

export function isExpired({ expiresAt }: Entry, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now
}

/** Freezes plain JSON in depth. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
