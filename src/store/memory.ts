import type { CredentialStore } from './contract.js'
import { createEntry, findEntry, isExpired, putEntry, type Entry, type Tables } from './entry.js'

/**
 * A store in this process's memory: everything is gone when it ends.
 *
 * @param options.clock the current time in epoch milliseconds. Defaults to `Date.now`.
 */
export function memoryStore({ clock = Date.now }: { clock?: () => number } = {}): CredentialStore {
  const tables: Tables = new Map()

  function find(collection: string, key: string): Entry | undefined {
    const entry = findEntry(tables, collection, key)
    if (entry === undefined || !isExpired(entry, clock())) return entry
    putEntry(tables, collection, key, undefined)
    return undefined
  }

  return {
    shared: false,

    async get(collection, key) {
      const entry = find(collection, key)
      return entry && { data: entry.data, version: entry.version }
    },

    async compareAndSet(collection, key, expected, data, options) {
      if (find(collection, key)?.version !== expected) return false
      putEntry(tables, collection, key, createEntry(data, options))
      return true
    },

    async delete(collection, key, expected) {
      const entry = find(collection, key)
      if (entry === undefined || (expected !== undefined && entry.version !== expected)) return false
      putEntry(tables, collection, key, undefined)
      return true
    },

    async *list(collection, prefix = '') {
      for (const key of [...(tables.get(collection)?.keys() ?? [])]) {
        if (!key.startsWith(prefix)) continue
        const entry = find(collection, key)
        if (entry !== undefined) yield { key, data: entry.data, version: entry.version }
      }
    },
  }
}
