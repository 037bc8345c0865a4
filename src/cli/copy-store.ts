import { isDeepStrictEqual } from 'node:util'
import { forEachOf } from '../for-each.js'
import type { Collection, CredentialStore, StoredRecord } from '../store/contract.js'

/** What became of the records of a collection. */
export interface Counts {
  copied: number
  overwritten: number
  same: number
  different: number
}

export interface CopyOptions {
  /** Whether what differs in the target is replaced. */
  readonly overwrite: boolean
  /** Told of each record that differs in the target, and was kept there. */
  readonly onDifference: (collection: string, key: string) => void
}

const COLLECTIONS: readonly Collection[] = ['oauth_client_registrations', 'oauth_tokens']

/** So many records share a write of a JSON file. */
const AT_ONCE = 500

/** Copies registrations and tokens, sealed as they are. Leases are not: whoever held one has ended. */
export async function copyStore(
  from: CredentialStore,
  to: CredentialStore,
  options: CopyOptions,
): Promise<Map<Collection, Counts>> {
  const all = new Map<Collection, Counts>()
  for (const collection of COLLECTIONS) {
    const counts: Counts = { copied: 0, overwritten: 0, same: 0, different: 0 }
    all.set(collection, counts)
    for await (const batch of inBatches(from.list(collection))) {
      await forEachOf(batch, AT_ONCE, async ({ key, data }) => {
        const outcome = await copyRecord(to, collection, key, data, options.overwrite)
        counts[outcome]++
        if (outcome === 'different') options.onDifference(collection, key)
      })
    }
  }
  return all
}

async function copyRecord(
  to: CredentialStore,
  collection: Collection,
  key: string,
  data: StoredRecord['data'],
  overwrite: boolean,
): Promise<keyof Counts> {
  const held = await to.get(collection, key)
  if (held !== undefined && isDeepStrictEqual(held.data, data)) return 'same'
  if (held !== undefined && !overwrite) return 'different'
  // Where it has changed in between, it is looked at again.
  const isWritten = await to.compareAndSet(collection, key, held?.version, data)
  if (!isWritten) return copyRecord(to, collection, key, data, overwrite)
  return held === undefined ? 'copied' : 'overwritten'
}

async function* inBatches<T>(items: AsyncIterable<T>): AsyncGenerator<T[]> {
  let batch: T[] = []
  for await (const item of items) {
    batch.push(item)
    if (batch.length < AT_ONCE) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
