import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { CredentialStore, RecordData } from './contract.js'

/** How the checks open the store that they are for. */
export interface StoreFactory {
  /**
   * Opens a store on the backend of this name: an empty one the first time, the same one again after that.
   *
   * @param backend of the characters `a` to `z`, `0` to `9` and `_`, at most 40: a schema, a prefix or a file name
   * @param clock the current time in epoch milliseconds, by which the store judges expiry
   */
  open(backend: string, clock: () => number): CredentialStore | Promise<CredentialStore>
  /** What {@link CredentialStore.shared} of its stores has to be; true adds the checks with two handles. */
  readonly shared: boolean
  /** Whether the records outlive the store that wrote them. Defaults to true. */
  readonly persistent?: boolean
}

/** One promise of {@link CredentialStore}, for any test runner: `test(name, run)`. */
export interface StoreCheck {
  readonly name: string
  /**
   * Opens what it needs, and closes it.
   *
   * @throws AssertionError where the store breaks the promise; what the store throws
   */
  run(): Promise<void>
}

/** What a check is given. */
interface Bench {
  /** The time; set it. */
  now: number
  /** The first handle on the check's own backend. */
  readonly store: CredentialStore
  /** As many handles on that backend as may be open at once: one, or two of a shared store. */
  readonly handles: readonly CredentialStore[]
  /** One more handle; it is closed after the check. */
  open(backend?: string): Promise<CredentialStore>
}

type Check = (bench: Bench) => Promise<void>

const START = 1_700_000_000_000
const COLLECTIONS = ['oauth_client_registrations', 'oauth_tokens', 'leases']
const AWKWARD_TEXTS = [
  ...['', ' ', '0', '1', 'constructor', 'toString', '__proto__', 'a?b=c#d', 'a/b', 'a//b', 'a:b', 'a%2Fb'],
  ...['notion/élodie', 'e\u0301', 'é', '日本語', '🗝️', '\u2028', '"', '\\', '\\u0000', "'; --", '{a}', '}b{'],
  ...['*', '%', '_', '\n', '\u0000', 'a\u0000b', '\ud800', '\udfff', 'a\ud800b', '\uffff', '\u{10ffff}'],
]
const LONG_TEXTS = ['é'.repeat(512), longText(1024), longText(8192)]

/** Checks that a store keeps the promises of {@link CredentialStore}, each on a backend of its own. */
export function storeChecks(factory: StoreFactory): StoreCheck[] {
  const { shared, persistent = true } = factory
  const checks = {
    ...CHECKS,
    ...(persistent && CHECKS_OF_PERSISTENCE),
    ...(shared && CHECKS_OF_SHARING),
  }
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => runOn(factory, check) }))
}

async function runOn(factory: StoreFactory, check: Check): Promise<void> {
  const own = `check_${randomUUID().replaceAll('-', '')}`
  const opened: CredentialStore[] = []
  const open = async (backend = own): Promise<CredentialStore> => {
    const store = await factory.open(backend, () => bench.now)
    opened.push(store)
    return store
  }
  const handles: CredentialStore[] = []
  const bench = {
    now: START,
    handles,
    open,
    get store() {
      return handles[0] as CredentialStore
    },
  }
  try {
    for (let n = 0; n < (factory.shared ? 2 : 1); n++) handles.push(await open())
    for (const { shared } of handles) assert.equal(shared, factory.shared, 'the store says so of itself')
    await check(bench)
  } finally {
    for (const store of opened) await store.close?.()
  }
}

const CHECKS: Record<string, Check> = {
  'gives back what was written': async ({ store }) => {
    for (const collection of COLLECTIONS) {
      const data = parse(RICH)
      assert.equal(await store.compareAndSet(collection, 'k', undefined, data), true)
      assert.deepStrictEqual((await store.get(collection, 'k'))?.data, parse(RICH))
      const version = await versionOf(store, collection, 'k')
      assert.equal(await store.compareAndSet(collection, 'k', version, {}), true)
      assert.deepStrictEqual((await store.get(collection, 'k'))?.data, {})
    }
  },

  'has nothing where nothing was written': async ({ store }) => {
    await create(store, 'oauth_tokens', 'k')
    assert.equal(await store.get('oauth_tokens', 'other'), undefined)
    assert.equal(await store.get('another', 'k'), undefined)
    assert.equal(await store.delete('another', 'k'), false)
    assert.equal(await store.delete('oauth_tokens', 'other'), false)
    assert.equal(await store.compareAndSet('oauth_tokens', 'other', 'a version', {}), false)
    assert.deepStrictEqual(await keysIn(store, 'another'), [])
    assert.deepStrictEqual(await keysIn(store, 'oauth_tokens'), ['k'])
  },

  'keeps its own copy': async ({ store }) => {
    const data = { nested: { n: 1 } }
    await store.compareAndSet('oauth_tokens', 'k', undefined, data)
    data.nested.n = 2
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, { nested: { n: 1 } })
    const read = (await store.get('oauth_tokens', 'k'))?.data as typeof data
    // Frozen, or the reader's own: either will do.
    Reflect.set(read.nested, 'n', 3)
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, { nested: { n: 1 } })
  },

  'creates only where there is nothing': async ({ store }) => {
    await create(store, 'oauth_tokens', 'k', { n: 1 })
    assert.equal(await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 2 }), false)
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, { n: 1 })
  },

  'refuses a version that is not the newest': async ({ store }) => {
    const first = await create(store, 'oauth_tokens', 'k', { n: 1 })
    assert.equal(await store.compareAndSet('oauth_tokens', 'k', first, { n: 2 }), true)
    assert.equal(await store.compareAndSet('oauth_tokens', 'k', first, { n: 3 }), false)
    assert.equal(await store.delete('oauth_tokens', 'k', first), false)
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, { n: 2 })
  },

  'refuses the version of a record that was deleted and created again': async ({ store }) => {
    const first = await create(store, 'oauth_tokens', 'k', { n: 1 })
    assert.equal(await store.delete('oauth_tokens', 'k'), true)
    assert.equal(await store.compareAndSet('oauth_tokens', 'k', first, { n: 2 }), false)
    assert.equal(await store.get('oauth_tokens', 'k'), undefined)
    await create(store, 'oauth_tokens', 'k', { n: 1 })
    assert.equal(await store.compareAndSet('oauth_tokens', 'k', first, { n: 3 }), false)
    assert.equal(await store.delete('oauth_tokens', 'k', first), false)
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, { n: 1 })
  },

  'gives each write a version of its own, though it writes the same': async ({ store }) => {
    const versions: string[] = []
    for (let n = 0; n < 5; n++) {
      versions.push(await create(store, 'oauth_tokens', 'k'))
      await store.compareAndSet('oauth_tokens', 'k', versions.at(-1), {})
      versions.push(await versionOf(store, 'oauth_tokens', 'k'))
      assert.equal(await store.delete('oauth_tokens', 'k', versions.at(-1)), true)
    }
    assert.equal(new Set(versions).size, versions.length)
    assert.ok(versions.every((version) => typeof version === 'string' && version !== ''))
  },

  'lets one of many creators win, whom all others then read': async ({ handles }) => {
    await race(handles, undefined)
  },

  'lets one of many writers win, whom all others then read': async ({ store, handles }) => {
    await race(handles, await create(store, 'oauth_tokens', 'k'))
  },

  'lets one of many deleters win': async ({ store, handles }) => {
    for (const isVersioned of [true, false]) {
      const version = await create(store, 'oauth_tokens', 'k')
      const expected = isVersioned ? [version] : []
      const won = await Promise.all(
        callers(handles).map((handle) => handle.delete('oauth_tokens', 'k', ...expected)),
      )
      assert.equal(won.filter(Boolean).length, 1)
      assert.equal(await store.get('oauth_tokens', 'k'), undefined)
    }
  },

  'lets a writer or a deleter win, not both': async ({ store, handles }) => {
    const version = await create(store, 'oauth_tokens', 'k')
    const write = (handle: CredentialStore, n: number): Promise<boolean> =>
      n % 2 === 0
        ? handle.delete('oauth_tokens', 'k', version)
        : handle.compareAndSet('oauth_tokens', 'k', version, { n })
    const won = await Promise.all(callers(handles).map(write))
    assert.equal(won.filter(Boolean).length, 1)
    const winner = won.indexOf(true)
    const left = winner % 2 === 0 ? undefined : { n: winner }
    assert.deepStrictEqual((await store.get('oauth_tokens', 'k'))?.data, left)
  },

  'forgets a record at its expiry, by the clock': async (bench) => {
    const { store, now } = bench
    for (const collection of COLLECTIONS) {
      bench.now = now
      await store.compareAndSet(collection, 'k', undefined, { n: 1 }, { expiresAt: now + 1000 })
      await create(store, collection, 'stays')
      const version = await versionOf(store, collection, 'k')
      bench.now = now + 999
      assert.deepStrictEqual(await keysIn(store, collection), ['k', 'stays'])
      assert.equal(await store.compareAndSet(collection, 'k', undefined, { n: 2 }), false)
      bench.now = now + 1000
      assert.equal(await store.get(collection, 'k'), undefined)
      assert.deepStrictEqual(await keysIn(store, collection), ['stays'])
      assert.equal(await store.delete(collection, 'k'), false)
      assert.equal(await store.compareAndSet(collection, 'k', version, { n: 3 }), false)
      assert.equal(await store.compareAndSet(collection, 'k', undefined, { n: 4 }), true)
      assert.deepStrictEqual((await store.get(collection, 'k'))?.data, { n: 4 })
    }
  },

  'lets one of many creators win where a record has expired': async (bench) => {
    const { store, handles, now } = bench
    await store.compareAndSet('oauth_tokens', 'k', undefined, {}, { expiresAt: now + 1000 })
    bench.now = now + 1000
    await race(handles, undefined)
  },

  'takes the expiry of the newest write': async (bench) => {
    const { store, now } = bench
    const at = (expiresAt: number): { expiresAt: number } => ({ expiresAt })
    for (const key of ['sooner', 'later', 'never'])
      await store.compareAndSet('oauth_tokens', key, undefined, {}, at(now + 1000))
    const change = async (key: string, ...options: { expiresAt: number }[]): Promise<boolean> =>
      store.compareAndSet('oauth_tokens', key, await versionOf(store, 'oauth_tokens', key), {}, ...options)
    assert.equal(await change('sooner', at(now + 500)), true)
    assert.equal(await change('later', at(now + 2000)), true)
    assert.equal(await change('never'), true)
    bench.now = now + 500
    assert.deepStrictEqual(await keysIn(store, 'oauth_tokens'), ['later', 'never'])
    bench.now = now + 1999
    assert.deepStrictEqual(await keysIn(store, 'oauth_tokens'), ['later', 'never'])
    // A write is where a store may take away what it believes to have expired.
    assert.equal(await change('later', at(now + 2000)), true)
    assert.equal(await change('never'), true)
    bench.now = now + 2000
    assert.deepStrictEqual(await keysIn(store, 'oauth_tokens'), ['never'])
    assert.equal(await change('never'), true)
    assert.deepStrictEqual(await keysIn(store, 'oauth_tokens'), ['never'])
  },

  'takes any text as key': async ({ store }) => {
    const keys = [...AWKWARD_TEXTS, ...LONG_TEXTS]
    for (const collection of COLLECTIONS) {
      await Promise.all(keys.map((key) => create(store, collection, key, { key })))
      for (const key of keys) assert.deepStrictEqual((await store.get(collection, key))?.data, { key })
      assert.deepStrictEqual(await keysIn(store, collection), [...keys].sort())
      const deleted = await Promise.all(keys.map((key) => store.delete(collection, key)))
      assert.ok(deleted.every(Boolean))
      assert.deepStrictEqual(await keysIn(store, collection), [])
    }
  },

  'takes any text as collection': async ({ store }) => {
    const collections = [...AWKWARD_TEXTS, ...LONG_TEXTS]
    for (const collection of collections) await create(store, collection, 'k', { collection })
    for (const collection of collections) {
      assert.deepStrictEqual((await store.get(collection, 'k'))?.data, { collection })
      assert.deepStrictEqual(await keysIn(store, collection), ['k'])
    }
  },

  'lists the keys with a prefix': async ({ store }) => {
    const keys = ['a', 'a/', 'a/b', 'a/b/c', 'a/c', 'a0', 'A/b', 'a%', 'a_b', 'ab', 'é/1', 'é/2', '🗝/1', '']
    for (const collection of COLLECTIONS) {
      for (const key of keys) await create(store, collection, key)
      for (const prefix of ['', 'a', 'a/', 'a/b', 'a%', 'a_', 'é', '🗝', 'none']) {
        const expected = keys.filter((key) => key.startsWith(prefix)).sort()
        assert.deepStrictEqual(await keysIn(store, collection, prefix), expected)
      }
    }
  },

  'lists each record once, with its data and version, while others change': async ({ store }) => {
    const keys = Array.from({ length: 1200 }, (_, n) => `key/${n}`)
    await Promise.all(keys.map((key, n) => create(store, 'oauth_tokens', key, { n })))
    const listed: string[] = []
    for await (const { key, data, version } of store.list('oauth_tokens', 'key/')) {
      listed.push(key)
      assert.equal(data['n'], keys.indexOf(key))
      if (listed.length > 20) continue
      await create(store, 'oauth_tokens', `new/${key}`)
      assert.equal(await store.compareAndSet('oauth_tokens', key, version, data), true)
    }
    assert.deepStrictEqual(listed.sort(), [...keys].sort())
  },

  'keeps collections and keys apart': async ({ store }) => {
    await create(store, 'a', 'b/c', { n: 1 })
    await create(store, 'a/b', 'c', { n: 2 })
    await create(store, 'a:b', 'c', { n: 3 })
    assert.equal(await store.delete('a/b', 'c'), true)
    assert.deepStrictEqual((await store.get('a', 'b/c'))?.data, { n: 1 })
    assert.deepStrictEqual((await store.get('a:b', 'c'))?.data, { n: 3 })
  },

  'keeps two backends apart': async ({ store, open }) => {
    const other = await open(`other_${randomUUID().slice(0, 8)}`)
    for (const collection of COLLECTIONS) {
      const version = await create(store, collection, 'k', { n: 1 })
      assert.equal(await other.get(collection, 'k'), undefined)
      await create(other, collection, 'k', { n: 2 })
      await create(other, collection, 'of the other')
      assert.equal(await other.delete(collection, 'k', version), false)
      assert.equal(await other.delete(collection, 'k'), true)
      assert.deepStrictEqual((await store.get(collection, 'k'))?.data, { n: 1 })
      assert.deepStrictEqual(await keysIn(store, collection), ['k'])
    }
  },
}

const CHECKS_OF_PERSISTENCE: Record<string, Check> = {
  'has everything again after it was closed and opened': async (bench) => {
    const { store, handles, now } = bench
    const keys = AWKWARD_TEXTS
    for (const key of keys)
      await store.compareAndSet('oauth_tokens', key, undefined, parse(RICH), { expiresAt: now + 1000 })
    const readAll = (from: CredentialStore): Promise<unknown[]> =>
      Promise.all(keys.map((key) => from.get('oauth_tokens', key)))
    const before = await readAll(store)
    for (const handle of handles) await handle.close?.()
    const reopened = await bench.open()
    assert.deepStrictEqual(await readAll(reopened), before)
    assert.deepStrictEqual(await keysIn(reopened, 'oauth_tokens'), [...keys].sort())
    const version = await versionOf(reopened, 'oauth_tokens', '')
    assert.equal(await reopened.compareAndSet('oauth_tokens', '', version, {}), true)
    bench.now = now + 1000
    assert.deepStrictEqual(await keysIn(reopened, 'oauth_tokens'), [''])
  },
}

const CHECKS_OF_SHARING: Record<string, Check> = {
  'shows through one handle what another one wrote': async ({ handles }) => {
    const [one, other] = handles as [CredentialStore, CredentialStore]
    const first = await create(one, 'oauth_tokens', 'k', { n: 1 })
    assert.deepStrictEqual(await other.get('oauth_tokens', 'k'), { data: { n: 1 }, version: first })
    assert.equal(await other.compareAndSet('oauth_tokens', 'k', first, { n: 2 }), true)
    assert.equal(await one.compareAndSet('oauth_tokens', 'k', first, { n: 3 }), false)
    assert.deepStrictEqual((await one.get('oauth_tokens', 'k'))?.data, { n: 2 })
    assert.equal(await one.delete('oauth_tokens', 'k'), true)
    assert.equal(await other.get('oauth_tokens', 'k'), undefined)
    assert.deepStrictEqual(await keysIn(other, 'oauth_tokens'), [])
  },

  'is opened by many at once where there was nothing yet': async ({ open }) => {
    const backend = `new_${randomUUID().slice(0, 8)}`
    const stores = await Promise.all(Array.from({ length: 10 }, () => open(backend)))
    const won = await Promise.all(
      stores.map((store, n) => store.compareAndSet('leases', 'k', undefined, { n })),
    )
    assert.equal(won.filter(Boolean).length, 1)
  },
}

/** JSON with what encoders and number types stumble over. Lone surrogates and NUL are escaped, as in all JSON. */
const RICH = String.raw`{
  "text": "é e\u0301 日本語 🗝️ \u2028 \" \\ \\u0000 \n '; --",
  "awkward": ["\u0000", "a\u0000b", "\ud800", "\udfff", "\uffff", ""],
  "numbers": [0, -1, 0.1, 1e21, 1.5e-7, 9007199254740991, 1.7976931348623157e308, 5e-324],
  "others": [null, true, false, [], {}, [[[]]]],
  "z": { "b": 1, "a": { "deep": { "deeper": [{ "deepest": null }] } } },
  "__proto__": { "polluted": true },
  "constructor": 1,
  "": "no name",
  "\u0000": "NUL",
  "server": "a\u0000b",
  "status": 7,
  "issuer": { "not": "text" },
  "createdAt": 1e300,
  "expiresAt": "soon",
  "accessToken": "a\u0000b",
  "refreshToken": null,
  "clientSecret": "eyJhbGciOiJkaXIifQ..a.b.c",
  "registrationAccessToken": ["no text"]
}`

function parse(json: string): RecordData {
  return JSON.parse(json) as RecordData
}

/** Text that hardly compresses, and is the same in each run. */
function longText(length: number): string {
  let seed = 1
  const next = (): string => {
    seed = (seed * 48_271) % 2_147_483_647
    return String.fromCharCode(97 + (seed % 26))
  }
  return Array.from({ length }, next).join('')
}

/** A hundred callers, the handles in turn. */
function callers(handles: readonly CredentialStore[]): CredentialStore[] {
  return Array.from({ length: 100 }, (_, n) => handles[n % handles.length] as CredentialStore)
}

async function race(handles: readonly CredentialStore[], expected: string | undefined): Promise<void> {
  const outcomes = await Promise.all(
    callers(handles).map(async (handle, n) => ({
      won: await handle.compareAndSet('oauth_tokens', 'k', expected, { n }),
      seen: (await handle.get('oauth_tokens', 'k'))?.data['n'],
    })),
  )
  assert.equal(outcomes.filter(({ won }) => won).length, 1)
  const winner = outcomes.findIndex(({ won }) => won)
  assert.deepStrictEqual(new Set(outcomes.map(({ seen }) => seen)), new Set([winner]))
}

/** Creates a record; resolves to its version. */
async function create(
  store: CredentialStore,
  collection: string,
  key: string,
  data: RecordData = {},
): Promise<string> {
  assert.equal(await store.compareAndSet(collection, key, undefined, data), true, 'the record was created')
  return versionOf(store, collection, key)
}

async function versionOf(store: CredentialStore, collection: string, key: string): Promise<string> {
  const record = await store.get(collection, key)
  assert.ok(record !== undefined, 'the record is there')
  return record.version
}

async function keysIn(store: CredentialStore, collection: string, prefix?: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(collection, prefix)) keys.push(key)
  return keys.sort()
}
