import { expect, it } from 'vitest'
import { copyStore } from '../../src/cli/copy-store.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { memoryStore } from '../../src/store/memory.js'

/** A store with a record of `ann`. */
async function storeOf(data: Record<string, unknown>): Promise<CredentialStore> {
  const store = memoryStore({ clock: Date.now })
  await store.compareAndSet('oauth_tokens', 'notes/ann', undefined, data)
  return store
}

it.each([
  [true, { overwritten: 1, different: 0 }, { n: 1 }],
  [false, { overwritten: 0, different: 1 }, { n: 3 }],
])(
  'a record that a gateway writes between its look and its write is looked at again (overwrite: %s)',
  async (overwrite, counts, left) => {
    const to = overwrite ? await storeOf({ n: 2 }) : memoryStore({ clock: Date.now })
    let reads = 0
    const racing: CredentialStore = {
      ...to,
      async get(collection, key) {
        const held = await to.get(collection, key)
        if (++reads === 1) await to.compareAndSet(collection, key, held?.version, { n: 3 })
        return held
      },
    }
    const copied = await copyStore(await storeOf({ n: 1 }), racing, {
      overwrite,
      onDifference: () => undefined,
    })
    expect(copied.get('oauth_tokens')).toEqual({ copied: 0, same: 0, ...counts })
    expect((await to.get('oauth_tokens', 'notes/ann'))?.data).toEqual(left)
  },
)
