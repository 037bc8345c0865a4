import { randomUUID } from 'node:crypto'
import { createClient, createCluster } from 'redis'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import type { CredentialStore } from '../../src/store/contract.js'
import { storeChecks } from '../../src/store/compliance.js'
import { redisStore, type RedisStoreOptions } from '../../src/store/redis.js'
import { errorOf } from '../store/support.js'
import { startLine, type Line } from './cut-line.js'
import { startRedis } from './start-redis.js'
import type { RunningServer } from './start-server.js'

const client = createClient({ url: inject('redisUrl') })
const prefixes = new Set<string>()
beforeAll(async () => void (await client.connect()))
afterAll(async () => {
  for await (const keys of client.scanIterator({ COUNT: 1000 })) {
    const ours = keys.filter((key) => prefixes.has(key.slice(0, key.indexOf('{'))))
    if (ours.length > 0) await client.unlink(ours)
  }
  await client.close()
})

function noted(prefix: string): string {
  prefixes.add(prefix)
  return prefix
}

function freshPrefix(): string {
  return noted(`test-${randomUUID()}:`)
}

async function keysIn(store: CredentialStore, collection: string, prefix?: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(collection, prefix)) keys.push(key)
  return keys
}

describe('the Redis store', () => {
  const checks = storeChecks({
    shared: true,
    open: (backend, clock) => redisStore({ client, prefix: noted(`${backend}:`), clock }),
  })
  it.each(checks)('$name', ({ run }) => run())

  it('brings its script again, where the server has forgotten it', async () => {
    const store = redisStore({ client, prefix: freshPrefix() })
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    await client.scriptFlush()
    expect(await store.delete('oauth_tokens', 'k')).toBe(true)
  })

  it('gives back text, whatever the client’s own replies are mapped to', async () => {
    const buffers = client.withTypeMapping({ 36: Buffer })
    const store = redisStore({ client: buffers, prefix: freshPrefix() })
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    expect((await store.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
    expect(await keysIn(store, 'oauth_tokens')).toEqual(['k'])
  })

  it('leaves nothing of what was deleted, nor, after a later write, of what has expired', async () => {
    const prefix = freshPrefix()
    let now = 1000
    const store = redisStore({ client, prefix, clock: () => now })
    await store.compareAndSet('oauth_tokens', 'k', undefined, {}, { expiresAt: 2000 })
    await store.delete('oauth_tokens', 'k')
    expect(await client.keys(`${prefix}*`)).toEqual([])
    for (let n = 0; n < 200; n++)
      await store.compareAndSet('leases', `${n}`, undefined, {}, { expiresAt: 2000 })
    now = 2000
    for (let n = 0; n < 200; n++) await store.compareAndSet('leases', `new ${n}`, undefined, {})
    const held = await Promise.all((await client.keys(`${prefix}*:records`)).map((key) => client.hLen(key)))
    expect(held.reduce((sum, length) => sum + length)).toBe(200)
  })

  it.each([
    ['no record', 'altered'],
    ['no JSON', 'v1 - {"n":'],
    ['no object', 'v1 - [1]'],
  ])('says so of a value that somebody has made %s, and leaves it out of a list', async (_what, value) => {
    const prefix = freshPrefix()
    const store = redisStore({ client, prefix })
    await store.compareAndSet('oauth_tokens', 'bad', undefined, { n: 1 })
    const [records = ''] = await client.keys(`${prefix}*:records`)
    await client.hSet(records, 'bad', value)
    for (const key of ['a', 'b', 'c']) await store.compareAndSet('oauth_tokens', key, undefined, { n: 2 })
    await expect(store.get('oauth_tokens', 'bad')).rejects.toThrow(errorOf('store_corrupt'))
    expect((await keysIn(store, 'oauth_tokens')).sort()).toEqual(['a', 'b', 'c'])
    expect(await store.delete('oauth_tokens', 'bad')).toBe(true)
  })

  it('leaves out of a list what has a key that nobody could have written', async () => {
    const prefix = freshPrefix()
    const store = redisStore({ client, prefix })
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    const [records = ''] = await client.keys(`${prefix}*:records`)
    await client.hSet(records, 'k"', 'v1 - {}')
    await client.zAdd(records.replace(/records$/, 'index'), { score: 0, value: 'k"' })
    expect(await keysIn(store, 'oauth_tokens')).toEqual(['k'])
  })

  it('creates a record where an expired one is that no write has had time to take away', async () => {
    let now = 1000
    const store = redisStore({ client, prefix: freshPrefix(), clock: () => now })
    const write = (key: string) => store.compareAndSet('leases', key, undefined, {}, { expiresAt: 2000 })
    // Of the oldest that are due, a write takes a hundred away: this one is the last of its part.
    for (let n = 0; n < 3000; n += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => write(`${n + i}`)))
    }
    await store.compareAndSet('leases', 'last', undefined, { n: 1 }, { expiresAt: 2001 })
    now = 2001
    expect(await store.compareAndSet('leases', 'last', undefined, { n: 2 })).toBe(true)
    expect((await store.get('leases', 'last'))?.data).toEqual({ n: 2 })
  })

  it('lists 10,000 records page by page, and one server’s part', async () => {
    const store = redisStore({ client, prefix: freshPrefix() })
    for (let n = 0; n < 10_000;) {
      const batch = Array.from({ length: 5000 }, () => `server${n % 1000}/user${n++}`)
      await Promise.all(batch.map((key) => store.compareAndSet('oauth_tokens', key, undefined, {})))
    }
    expect(new Set(await keysIn(store, 'oauth_tokens')).size).toBe(10_000)
    expect(await keysIn(store, 'oauth_tokens', 'server7/')).toHaveLength(10)
  })
})

describe('the Redis store on a cluster', () => {
  let server: RunningServer
  let cluster: ReturnType<typeof createCluster>
  beforeAll(async () => {
    server = await startRedis(['--cluster-enabled', 'yes'])
    const node = createClient({ url: server.url })
    await node.connect()
    await node.clusterAddSlotsRange({ start: 0, end: 16_383 })
    const isReady = async (): Promise<void> => expect(await node.clusterInfo()).toContain('cluster_state:ok')
    await vi.waitFor(isReady, 10_000)
    await node.close()
    cluster = createCluster({ rootNodes: [{ url: server.url }] })
    await cluster.connect()
  }, 30_000)
  afterAll(async () => {
    await cluster?.close()
    await server?.stop()
  })

  const checks = storeChecks({
    shared: true,
    open: (backend, clock) => redisStore({ client: cluster, prefix: `${backend}:`, clock }),
  })
  it.each(checks)('$name', ({ run }) => run())

  it('is spread over slots, each record with its index in one', async () => {
    const prefix = freshPrefix()
    const store = redisStore({ client: cluster, prefix })
    for (let n = 0; n < 200; n++) await store.compareAndSet('oauth_tokens', `k${n}`, undefined, {})
    const node = createClient({ url: server.url })
    await node.connect()
    onTestFinished(() => node.close())
    const keys = await node.keys(`${prefix}*`)
    const slots = await Promise.all(keys.map((key) => node.clusterKeySlot(key)))
    expect([keys.length, new Set(slots).size]).toEqual([32, 16])
  })
})

describe('when Redis fails', () => {
  /** A store that holds `k`, and waits for half a second at most. */
  async function openThrough(): Promise<{ line: Line; store: CredentialStore }> {
    const line = await startLine(inject('redisUrl'))
    const through = createClient({ url: line.url, socket: { reconnectStrategy: 20 } })
    const prefix = freshPrefix()
    const store = redisStore({ client: through, prefix, timeout: 500 })
    await through.connect()
    await redisStore({ client, prefix }).compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    onTestFinished(async () => {
      through.destroy()
      await line.close()
    })
    return { line, store }
  }

  it('being gone, every call fails clearly and in time, does nothing later, and all is well once it is back', async () => {
    const { line, store } = await openThrough()
    await line.cut()
    const calls = [
      () => store.get('oauth_tokens', 'k'),
      () => store.compareAndSet('oauth_tokens', 'later', undefined, {}),
      () => store.delete('oauth_tokens', 'k'),
      () => store.list('oauth_tokens')[Symbol.asyncIterator]().next(),
    ]
    const outcomes = await Promise.allSettled(calls.map((call) => call()))
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'store_unavailable' } })
    await line.mend()
    await expect.poll(() => keysIn(store, 'oauth_tokens').catch(() => [])).toEqual(['k'])
  })

  it('answering nothing, no call takes longer than its time, and all is well once it answers', async () => {
    const { line, store } = await openThrough()
    line.freeze()
    await expect(store.get('oauth_tokens', 'k')).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringContaining('within 500 ms'),
    })
    await line.mend()
    await expect
      .poll(() => store.get('oauth_tokens', 'k').catch(() => undefined))
      .toMatchObject({ data: { n: 1 } })
  })

  it('being full, it is written in the error, and what was stored is kept', async () => {
    const full = await startRedis(['--maxmemory-policy', 'noeviction'])
    const itsClient = createClient({ url: full.url })
    onTestFinished(async () => {
      itsClient.destroy()
      await full.stop()
    })
    await itsClient.connect()
    const store = redisStore({ client: itsClient })
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    await itsClient.configSet('maxmemory', '1')
    const { version } = (await store.get('oauth_tokens', 'k')) as { version: string }
    await expect(store.compareAndSet('oauth_tokens', 'k', version, { n: 2 })).rejects.toMatchObject({
      code: 'store_write_failed',
      message: expect.stringContaining('OOM'),
    })
    expect((await store.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
    await itsClient.configSet('maxmemory', '0')
    expect(await store.compareAndSet('oauth_tokens', 'k', version, { n: 2 })).toBe(true)
  })

  it('not being connected to, the error says so', async () => {
    const store = redisStore({ client: createClient({ url: inject('redisUrl') }) })
    await expect(store.get('oauth_tokens', 'k')).rejects.toThrow(errorOf('store_unavailable'))
  })
})

it.each([
  ['no client', {}, 'client'],
  ['a prefix with a brace', { client, prefix: 'a{b' }, 'prefix'],
])('%s is refused', (_what, options, word) => {
  expect(() => redisStore(options as RedisStoreOptions)).toThrow(
    expect.objectContaining({ code: 'invalid_options', message: expect.stringContaining(word) }),
  )
})
