import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { CredentialStore } from '../../src/store/contract.js'
import { memoryStore } from '../../src/store/memory.js'
import { openStore, temporaryDirectory } from './support.js'

type Open = (clock: () => number) => CredentialStore

const stores: Record<string, Open> = {
  memoryStore: (clock) => memoryStore({ clock }),
  jsonFileStore: (clock) => openStore(join(temporaryDirectory(), 'store.json'), { clock }),
}

const AWKWARD_KEYS = [
  '__proto__',
  'constructor',
  'toString',
  '',
  ' ',
  'a/b?c=d#e',
  'notion/élodie',
  '日本語',
  '🗝️',
  '\u2028',
  '"\\',
  '1',
  '\ud800',
]

async function listKeys(store: CredentialStore, collection: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(collection)) keys.push(key)
  return keys.sort()
}

describe.each(Object.entries(stores))('%s', (_name, open) => {
  it('gives back what was written', async () => {
    const store = open(Date.now)
    const data = { text: 'é', number: 1, nested: { list: [1, null, { deep: true }] } }
    expect(await store.compareAndSet('c', 'k', undefined, data)).toBe(true)
    expect((await store.get('c', 'k'))?.data).toEqual(data)
    expect(await store.get('c', 'other')).toBeUndefined()
    expect(await store.get('other', 'k')).toBeUndefined()
  })

  it('keeps its own copy, which nobody can change', async () => {
    const store = open(Date.now)
    const data = { nested: { n: 1 } }
    await store.compareAndSet('c', 'k', undefined, data)
    data.nested.n = 2
    const read = (await store.get('c', 'k'))?.data as typeof data
    expect(read).toEqual({ nested: { n: 1 } })
    expect(() => (read.nested.n = 3)).toThrow(TypeError)
  })

  it('creates only where there is nothing', async () => {
    const store = open(Date.now)
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    expect(await store.compareAndSet('c', 'k', undefined, { n: 2 })).toBe(false)
    expect((await store.get('c', 'k'))?.data).toEqual({ n: 1 })
  })

  it('refuses a version that is not the newest, also after a delete and a new create', async () => {
    const store = open(Date.now)
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    const first = (await store.get('c', 'k'))?.version as string
    expect(await store.compareAndSet('c', 'k', first, { n: 1 })).toBe(true)
    expect(await store.compareAndSet('c', 'k', first, { n: 3 })).toBe(false)
    await store.delete('c', 'k')
    expect(await store.compareAndSet('c', 'k', first, { n: 4 })).toBe(false)
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    expect(await store.compareAndSet('c', 'k', first, { n: 5 })).toBe(false)
    expect((await store.get('c', 'k'))?.data).toEqual({ n: 1 })
  })

  it('lets one of many writers win, and every loser then reads the winner', async () => {
    const store = open(Date.now)
    const write = async (n: number): Promise<{ won: boolean; seen: unknown }> => ({
      won: await store.compareAndSet('c', 'k', undefined, { n }),
      seen: (await store.get('c', 'k'))?.data.n,
    })
    const outcomes = await Promise.all(Array.from({ length: 100 }, (_, n) => write(n)))
    expect(outcomes.filter(({ won }) => won)).toEqual([{ won: true, seen: 0 }])
    expect(new Set(outcomes.map(({ seen }) => seen))).toEqual(new Set([0]))
  })

  it('lets one of many deleters win', async () => {
    const store = open(Date.now)
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    const { version } = (await store.get('c', 'k')) as { version: string }
    expect(await store.delete('c', 'k', 'another')).toBe(false)
    const won = await Promise.all(Array.from({ length: 100 }, () => store.delete('c', 'k', version)))
    expect(won.filter(Boolean)).toHaveLength(1)
    expect(await store.get('c', 'k')).toBeUndefined()
    expect(await store.delete('c', 'k')).toBe(false)
  })

  it('forgets a record at its expiry', async () => {
    let now = 1000
    const store = open(() => now)
    await store.compareAndSet('c', 'k', undefined, { n: 1 }, { expiresAt: 2000 })
    await store.compareAndSet('c', 'stays', undefined, { n: 1 })
    const { version } = (await store.get('c', 'k')) as { version: string }
    now = 1999
    expect(await listKeys(store, 'c')).toEqual(['k', 'stays'])
    now = 2000
    expect(await store.get('c', 'k')).toBeUndefined()
    expect(await listKeys(store, 'c')).toEqual(['stays'])
    expect(await store.delete('c', 'k')).toBe(false)
    expect(await store.compareAndSet('c', 'k', version, { n: 2 })).toBe(false)
    expect(await store.compareAndSet('c', 'k', undefined, { n: 3 })).toBe(true)
    expect((await store.get('c', 'k'))?.data).toEqual({ n: 3 })
  })

  it('takes any text as key and as collection', async () => {
    const store = open(Date.now)
    for (const key of AWKWARD_KEYS) {
      expect(await store.compareAndSet('c', key, undefined, { key, __proto__: null })).toBe(true)
      expect(await store.compareAndSet(key, 'k', undefined, { key })).toBe(true)
    }
    for (const key of AWKWARD_KEYS) {
      expect((await store.get('c', key))?.data).toEqual({ key })
      expect((await store.get(key, 'k'))?.data).toEqual({ key })
    }
    expect(await listKeys(store, 'c')).toEqual([...AWKWARD_KEYS].sort())
  })
})

it('the JSON file keeps awkward keys, versions and expiry over a restart', async () => {
  const path = join(temporaryDirectory(), 'store.json')
  let now = 1000
  const first = openStore(path, { clock: () => now })
  for (const key of AWKWARD_KEYS) {
    await first.compareAndSet(key, key, undefined, { key, ['__proto__']: 1 }, { expiresAt: 5000 })
  }
  const before = await Promise.all(AWKWARD_KEYS.map((key) => first.get(key, key)))
  await first.close()
  const second = openStore(path, { clock: () => now })
  expect(await Promise.all(AWKWARD_KEYS.map((key) => second.get(key, key)))).toEqual(before)
  now = 5000
  expect(await second.get('1', '1')).toBeUndefined()
})
