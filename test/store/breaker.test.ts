import { beforeEach, describe, expect, it, vi } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { Connection } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import { createBreaker, type Breaker } from '../../src/store/breaker.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { createLeases } from '../../src/store/lease.js'
import { memoryStore } from '../../src/store/memory.js'
import { createRecords } from '../../src/store/records.js'
import { errorOf, gate, recordingLogger } from './support.js'

const gone = new McpDcrError('store_unavailable', 'The database is gone.', { fix: 'Start the database.' })
const FAST = errorOf('store_unavailable')

/** A backend that is there, fails at once, or does not answer. */
let backend: 'there' | 'gone' | 'silent'
/** What the backend was asked for, without the probes. */
let asked: string[]
let probes: number
/** Lets all that was not answered fail, as a store's timeout does. */
let timeOut: () => void
let logger: ReturnType<typeof recordingLogger>
let breaker: Breaker
let store: CredentialStore
/** The pauses between probes, and what ends the one that is under way. */
let waits: number[]
let elapse: () => void

beforeEach(() => {
  backend = 'there'
  asked = []
  probes = 0
  waits = []
  logger = recordingLogger()
  const memory = memoryStore()
  const { opened, fail } = gate()
  opened.catch(() => undefined)
  timeOut = () => fail(gone)
  async function answer<T>(what: string, call: () => Promise<T>): Promise<T> {
    if (what === 'get leases probe') probes++
    else asked.push(what)
    if (backend === 'silent') await opened
    if (backend === 'gone') throw gone
    return call()
  }
  const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      waits.push(ms)
      elapse = resolve
      signal?.addEventListener('abort', () => reject(new Error('aborted')))
    })
  const fake: CredentialStore = {
    shared: true,
    get: (...args) => answer(`get ${args.join(' ')}`, () => memory.get(...args)),
    compareAndSet: (...args) => answer(`set ${args[1]}`, () => memory.compareAndSet(...args)),
    delete: (...args) => answer(`delete ${args[1]}`, () => memory.delete(...args)),
    async *list(...args) {
      await answer('list', () => Promise.resolve())
      yield* memory.list(...args)
    },
  }
  breaker = createBreaker(fake, logger, pause)
  store = breaker.store
})

async function list(): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('c')) keys.push(key)
  return keys
}

/** Each kind of call. */
const CALLS: Record<string, () => Promise<unknown>> = {
  get: () => store.get('c', 'k'),
  compareAndSet: () => store.compareAndSet('c', 'k', undefined, {}),
  delete: () => store.delete('c', 'k'),
  list,
}
const READS = ['get', 'list']

describe('a shared store that is gone', () => {
  it.each(Object.keys(CALLS))(
    'is noticed by %s, and not asked again until a probe is answered',
    async (kind) => {
      backend = 'gone'
      await expect(CALLS[kind]?.()).rejects.toBe(gone)
      expect(asked).toHaveLength(1)
      for (const [other, call] of Object.entries(CALLS)) {
        const error = (await call().catch((thrown: unknown) => thrown)) as McpDcrError
        expect([error.code, error.fix, error.cause]).toEqual([
          'store_unavailable',
          'Start the database.',
          gone,
        ])
        expect(error.message).toMatch(/did not answer.*every second/)
        expect(error.message.includes('nothing was written')).toBe(!READS.includes(other))
      }
      expect(asked).toHaveLength(1)
      expect([probes, waits]).toEqual([1, [1000]])

      elapse()
      await vi.waitFor(() => expect(waits).toEqual([1000, 1000]))
      await expect(store.get('c', 'k')).rejects.toThrow(FAST)
      backend = 'there'
      elapse()
      await vi.waitFor(() => expect(logger.lines).toHaveLength(2))
      for (const call of Object.values(CALLS)) await call()
      expect([asked.length, probes]).toEqual([5, 3])
    },
  )

  it('is said to be gone once, and to be back once', async () => {
    backend = 'gone'
    for (let n = 0; n < 3; n++) await expect(store.get('c', 'k')).rejects.toThrow(FAST)
    backend = 'there'
    elapse()
    await vi.waitFor(() => expect(logger.lines).toHaveLength(2))
    await store.get('c', 'k')
    expect(logger.lines).toEqual([
      {
        level: 'warn',
        message: expect.stringContaining('does not answer') as string,
        details: { error: gone },
      },
      { level: 'info', message: 'the store answers again', details: undefined },
    ])
  })

  it('fails the reads under way at once; writes come to what becomes of them', async () => {
    backend = 'silent'
    const reads = [store.get('c', 'a'), list()]
    const write = store.compareAndSet('c', 'b', undefined, {})
    backend = 'gone'
    await expect(store.get('c', 'k')).rejects.toBe(gone)
    for (const read of reads) await expect(read).rejects.toThrow(FAST)
    backend = 'there'
    elapse()
    await vi.waitFor(() => expect(logger.lines).toHaveLength(2))
    timeOut()
    await expect(write).rejects.toBe(gone)
    // Late news of an outage that is over.
    expect(await list()).toEqual([])
    expect(logger.lines).toHaveLength(2)
  })

  it('ends a list between two records', async () => {
    for (const key of ['a', 'b']) await store.compareAndSet('c', key, undefined, {})
    const records = store.list('c')[Symbol.asyncIterator]()
    expect(await records.next()).toMatchObject({ value: { key: 'a' } })
    backend = 'gone'
    await expect(store.get('c', 'k')).rejects.toBe(gone)
    await expect(records.next()).rejects.toThrow(/tried again in the background/)
  })

  it('is not gone for a call that fails while others succeed, nor for another failure', async () => {
    backend = 'silent'
    const late = store.get('c', 'a')
    backend = 'there'
    await store.get('c', 'b')
    timeOut()
    await expect(late).rejects.toBe(gone)
    const refused = new McpDcrError('store_write_failed', 'The disk is full.')
    await expect(createBreakerOver(refused).compareAndSet('c', 'k', undefined, {})).rejects.toBe(refused)
    expect(await list()).toEqual([])
    expect(logger.lines).toEqual([])
  })

  function createBreakerOver(error: Error): CredentialStore {
    const failing = { ...memoryStore(), compareAndSet: () => Promise.reject(error) }
    return createBreaker(failing, logger).store
  }

  it('is probed no more at the end, and asked itself', async () => {
    backend = 'gone'
    await expect(store.get('c', 'k')).rejects.toBe(gone)
    await vi.waitFor(() => expect(waits).toHaveLength(1))
    breaker.end()
    await new Promise(setImmediate)
    await expect(store.get('c', 'k')).rejects.toBe(gone)
    backend = 'there'
    expect(await store.get('c', 'k')).toBeUndefined()
    expect([probes, waits.length]).toEqual([1, 1])
  })

  it.each(['once it is back', 'at the end'])('is sent what could not be saved %s', async (when) => {
    const sealer = createSealer(
      loadKeys({ keys: ['a key of more than 32 characters, for tests'], keyFile: '', local: false }),
    )
    const tick = gate()
    const { connections } = createRecords(store, sealer, { clock: () => 0, pause: () => tick.opened })
    const connection = { user: 'ann', server: 'notes', refreshToken: 'first' } as Connection
    await connections.save('notes/ann', undefined, connection)
    const held = (await connections.get('notes/ann'))!
    backend = 'gone'
    const rotated = { ...connection, refreshToken: 'rotated' }
    await expect(connections.saveOrKeep('notes/ann', held, rotated)).rejects.toBe(gone)
    expect((await connections.recall('notes/ann', () => true))?.value).toEqual(rotated)
    expect(asked.filter((it) => it === 'get oauth_tokens notes/ann')).toHaveLength(1)
    backend = 'there'
    if (when === 'at the end') {
      breaker.end()
      await connections.close()
    } else {
      elapse()
      await vi.waitFor(() => expect(logger.lines).toHaveLength(2))
      tick.open()
      await vi.waitFor(() => expect(asked.filter((it) => it === 'set notes/ann')).toHaveLength(3))
    }
    expect((await createRecords(store, sealer).connections.get('notes/ann'))?.value).toEqual(rotated)
  })

  it('gives no lease, and gives it once it is back', async () => {
    const leases = createLeases(store, { clock: () => 0, pause: () => new Promise(() => undefined) })
    backend = 'gone'
    const work = vi.fn(() => Promise.resolve('done'))
    await expect(leases.withLease('x', 1000, work)).rejects.toBe(gone)
    await expect(leases.withLease('x', 1000, work)).rejects.toThrow(/nothing was written/)
    expect(work).not.toHaveBeenCalled()
    backend = 'there'
    elapse()
    await vi.waitFor(() => expect(logger.lines).toHaveLength(2))
    expect(await leases.withLease('x', 1000, work)).toBe('done')
  })
})
