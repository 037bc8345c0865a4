import { describe, expect, it, vi } from 'vitest'
import type { CredentialStore } from '../../src/store/contract.js'
import { createLeases, type Leases } from '../../src/store/lease.js'
import { memoryStore } from '../../src/store/memory.js'
import { errorOf, gate } from './support.js'

/** Two instances on one store and one clock, which only their waiting moves on. */
function twoInstances(maxWaitMs?: number): {
  a: Leases
  b: Leases
  store: CredentialStore
  calls: string[]
  waits: number[]
  onWait: (action: (waited: number) => void) => void
} {
  let now = 1_000_000
  let action: (waited: number) => void = () => undefined
  const waits: number[] = []
  const calls: string[] = []
  const clock = (): number => now
  const memory = memoryStore({ clock })
  const store: CredentialStore = {
    ...memory,
    compareAndSet: (...args) => (calls.push('compareAndSet'), memory.compareAndSet(...args)),
    get: (...args) => (calls.push('get'), memory.get(...args)),
    delete: (...args) => (calls.push('delete'), memory.delete(...args)),
  }
  const wait = async (ms: number): Promise<void> => {
    now += ms
    waits.push(ms)
    action(waits.length)
    // Lets the other instance's own steps happen.
    await new Promise(setImmediate)
  }
  const options = { clock, wait, ...(maxWaitMs !== undefined && { maxWaitMs }) }
  return {
    store,
    calls,
    waits,
    a: createLeases(store, { ...options, owner: 'a' }),
    b: createLeases(store, { ...options, owner: 'b' }),
    onWait: (then) => void (action = then),
  }
}

/** Pauses that end when told to, and what is told when the next one begins. */
function pauses(): {
  pause: (ms: number, signal?: AbortSignal) => Promise<unknown>
  next: () => Promise<void>
  asked: number[]
  elapse: () => void
} {
  const asked: number[] = []
  let elapse = (): void => undefined
  let begun = gate()
  const pause = (ms: number, signal?: AbortSignal): Promise<unknown> =>
    new Promise<void>((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')))
      elapse = resolve
      asked.push(ms)
      begun.open()
      begun = gate()
    })
  return { pause, asked, next: () => begun.opened, elapse: () => elapse() }
}

describe('withLease', () => {
  it('holds the lease while the work runs, and gives it back', async () => {
    const { a, store } = twoInstances()
    const result = await a.withLease('n', 1000, async () => {
      expect((await store.get('leases', 'n'))?.data).toMatchObject({ owner: 'a', expiresAt: 1_001_000 })
      return 'done'
    })
    expect(result).toBe('done')
    expect(await store.get('leases', 'n')).toBeUndefined()
  })

  it('gives it back when the work fails, whose error comes through', async () => {
    const { a, store } = twoInstances()
    const failure = new Error('the work')
    await expect(a.withLease('n', 1000, () => Promise.reject(failure))).rejects.toBe(failure)
    expect(await store.get('leases', 'n')).toBeUndefined()
    expect(await a.withLease('n', 1000, async () => 1)).toBe(1)
  })

  it('makes another instance wait, in jittered steps, until it is free', async () => {
    const { a, b, onWait, waits } = twoInstances()
    const work = gate()
    const order: string[] = []
    const first = a.withLease('n', 60_000, async () => {
      await work.opened
      order.push('a')
    })
    onWait((count) => count === 3 && work.open())
    await b.withLease('n', 60_000, async () => order.push('b'))
    await first
    expect(order).toEqual(['a', 'b'])
    expect(waits.length).toBeGreaterThanOrEqual(3)
    waits.forEach((ms) => expect(ms).toBeLessThan(400))
    expect(new Set(waits).size).toBe(waits.length)
  })

  it('never lets two instances work at once (FIELD-NOTES 8)', async () => {
    const { a, b } = twoInstances(Number.MAX_SAFE_INTEGER)
    let working = 0
    let done = 0
    const work = async (): Promise<void> => {
      expect(++working).toBe(1)
      await new Promise(setImmediate)
      working--
      done++
    }
    await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? a : b).withLease('n', 1e9, work)))
    expect(done).toBe(20)
  })

  it('takes over a lease that has run out, whose late holder then releases nothing', async () => {
    const { a, b, store } = twoInstances(10_000)
    const slow = gate()
    const first = a.withLease('n', 1000, () => slow.opened)
    await new Promise(setImmediate)
    await b.withLease('n', 1000, async () => {
      slow.open()
      await first
      expect((await store.get('leases', 'n'))?.data).toMatchObject({ owner: 'b' })
    })
  })

  it('takes over from a store that keeps what has expired', async () => {
    const store = memoryStore({ clock: () => 0 })
    const held = { owner: 'gone', token: 't', expiresAt: 500 }
    await store.compareAndSet('leases', 'n', undefined, held)
    const leases = createLeases(store, { clock: () => 500 })
    expect(await leases.withLease('n', 1000, async () => 'mine')).toBe('mine')
  })

  it('renews the lease while the work runs: none begins meanwhile, and the bound of the work stays', async () => {
    let now = 0
    const clock = (): number => now
    const store = memoryStore({ clock })
    const { pause, next, asked, elapse } = pauses()
    const leases = createLeases(store, { clock, pause })
    const work = gate()
    const begun = next()
    const first = leases.withLease('n', 31_000, () => work.opened)
    await begun
    const expiries: unknown[] = []
    for (const at of [5_000, 10_000, 14_000]) {
      now = at
      const again = next()
      elapse()
      await again
      expiries.push((await store.get('leases', 'n'))?.data.expiresAt)
    }
    now = 20_000
    elapse()
    await new Promise(setImmediate)
    expiries.push((await store.get('leases', 'n'))?.data.expiresAt)
    expect(expiries).toEqual([20_000, 25_000, 29_000, 31_000])
    expect(asked).toEqual([5_000, 5_000, 5_000, 5_000])
    work.open()
    await first
    expect(await store.get('leases', 'n')).toBeUndefined()
  })

  it('renews it again after the store has failed, and leaves it alone once it is another one’s', async () => {
    let now = 0
    const clock = (): number => now
    const store = memoryStore({ clock })
    const get = vi.spyOn(store, 'get')
    const { pause, next, asked, elapse } = pauses()
    const leases = createLeases(store, { clock, pause })
    const work = gate()
    const begun = next()
    const first = leases.withLease('n', 105_000, () => work.opened)
    await begun
    get.mockRejectedValueOnce(new Error('store down'))
    for (const at of [5_000, 10_000]) {
      now = at
      const again = next()
      elapse()
      await again
    }
    const held = await store.get('leases', 'n')
    expect(held?.data.expiresAt).toBe(25_000)
    const other = { owner: 'b', token: 'another', expiresAt: 99_000 }
    await store.compareAndSet('leases', 'n', held?.version, other)
    elapse()
    await new Promise(setImmediate)
    expect(asked).toHaveLength(3)
    work.open()
    await first
    expect((await store.get('leases', 'n'))?.data).toEqual(other)
  })

  it('goes on 15 seconds after the death of an instance, however long its work might have been', async () => {
    const { a, b, store, waits } = twoInstances()
    // Its process is gone: it renews nothing, and gives nothing back.
    const dead = createLeases(store, { clock: () => 1_000_000, pause: () => new Promise(() => undefined) })
    void dead.withLease('register notion', 105_000, () => new Promise(() => undefined))
    await new Promise(setImmediate)
    expect(await b.withLease('register notion', 105_000, async () => 'registered')).toBe('registered')
    const waited = waits.reduce((sum, ms) => sum + ms, 0)
    expect(waited).toBeGreaterThanOrEqual(15_000)
    expect(waited).toBeLessThan(16_000)
    expect(await a.withLease('register notion', 105_000, async () => 'again')).toBe('again')
  })

  it('waits for an instance that is busy for no more than 20 seconds', async () => {
    const { a, b, waits, store } = twoInstances()
    const busy = { owner: 'busy', token: 't', expiresAt: 2_000_000 }
    await store.compareAndSet('leases', 'n', undefined, busy)
    const answers = [a.withLease('n', 105_000, async () => 1), b.withLease('n', 105_000, async () => 1)]
    for (const answer of answers) await expect(answer).rejects.toThrow(errorOf('store_unavailable'))
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(21_000)
  })

  it('counts the wait from the call, also for those whose turn in this process comes later', async () => {
    const { a, waits, store } = twoInstances()
    const busy = { owner: 'busy', token: 't', expiresAt: 2_000_000 }
    await store.compareAndSet('leases', 'n', undefined, busy)
    const answers = [1, 2, 3].map((n) => a.withLease('n', 105_000, async () => n))
    for (const answer of answers) await expect(answer).rejects.toThrow(errorOf('store_unavailable'))
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(21_000)
  })

  it('gives up after the maximum wait', async () => {
    const { a, b } = twoInstances(500)
    const work = gate()
    const first = a.withLease('n', 60_000, () => work.opened)
    await new Promise(setImmediate)
    await expect(b.withLease('n', 60_000, async () => 1)).rejects.toThrow(errorOf('store_unavailable'))
    work.open()
    await first
    expect(await b.withLease('n', 60_000, async () => 2)).toBe(2)
  })

  it('lets callers of one process take turns in their order, without asking the store meanwhile', async () => {
    const { a, calls, waits } = twoInstances()
    const work = gate()
    const order: number[] = []
    const turns = [0, 1, 2, 3].map((n) =>
      a.withLease('n', 1000, async () => {
        if (n === 0) await work.opened
        order.push(n)
      }),
    )
    const other = a.withLease('another name', 1000, async () => order.push(-1))
    await other
    await new Promise(setImmediate)
    expect(order).toEqual([-1])
    expect(calls.filter((call) => call === 'compareAndSet')).toHaveLength(2)
    work.open()
    await Promise.all(turns)
    expect(order).toEqual([-1, 0, 1, 2, 3])
    expect(waits).toEqual([])
  })

  it('shares one outcome between those who ask for it meanwhile, a failure too, and with nobody later', async () => {
    const { a } = twoInstances()
    const work = gate()
    let worked = 0
    const fail = async (): Promise<number> => {
      await work.opened
      throw new Error(`failure ${++worked}`)
    }
    const calls = [1, 2, 3].map(() => a.withLease('n', 1000, fail, 'token 1'))
    const other = a.withLease('n', 1000, async () => ++worked, 'token 2')
    work.open()
    for (const call of calls) await expect(call).rejects.toThrow('failure 1')
    expect(await other).toBe(2)
    expect(await a.withLease('n', 1000, async () => ++worked, 'token 1')).toBe(3)
  })

  it('is idle once all work is done, that which waits for its turn too', async () => {
    const { a } = twoInstances()
    const works = [gate(), gate(), gate()]
    const order: string[] = []
    const turns = works.map(({ opened }, n) =>
      a.withLease(n === 2 ? 'another' : 'n', 1000, () => opened).then(() => order.push(`work ${n}`)),
    )
    const idle = a.idle(60_000).then(() => order.push('idle'))
    for (const n of [2, 0, 1] as const) {
      works[n]?.open()
      await turns[n]
    }
    await idle
    expect(order).toEqual(['work 2', 'work 0', 'work 1', 'idle'])
    await a.idle(60_000)
  })

  it('is waited for to be idle no longer than it is told', async () => {
    const { pause, asked, elapse } = pauses()
    const leases = createLeases(memoryStore(), { clock: () => 0, pause })
    const work = gate()
    const first = leases.withLease('n', 1000, () => work.opened)
    const idle = leases.idle(25_000)
    expect(asked).toEqual([25_000])
    elapse()
    await idle
    work.open()
    await first
  })

  it('returns what was done although the store fails at the release', async () => {
    const memory = memoryStore()
    const store: CredentialStore = { ...memory, delete: () => Promise.reject(new Error('store down')) }
    expect(await createLeases(store, { clock: Date.now }).withLease('n', 1000, async () => 'done')).toBe(
      'done',
    )
  })

  it('does not work when the store fails at the acquisition', async () => {
    const down = new Error('store down')
    const store: CredentialStore = { ...memoryStore(), compareAndSet: () => Promise.reject(down) }
    let worked = false
    const leases = createLeases(store, { clock: Date.now })
    await expect(leases.withLease('n', 1000, async () => (worked = true))).rejects.toBe(down)
    expect(worked).toBe(false)
  })

  it('gives back a lease that was written although its answer was lost, once the store answers', async () => {
    const memory = memoryStore({ clock: () => 0 })
    const lost = new Error('answer lost')
    const store: CredentialStore = { ...memory }
    const { pause, next, asked, elapse } = pauses()
    vi.spyOn(store, 'compareAndSet').mockImplementationOnce(async (...args) => {
      await memory.compareAndSet(...args)
      throw lost
    })
    const removed = gate()
    vi.spyOn(store, 'get').mockRejectedValueOnce(new Error('still down'))
    vi.spyOn(store, 'delete').mockImplementation((...args) =>
      memory.delete(...args).finally(() => removed.open()),
    )
    const leases = createLeases(store, { clock: () => 0, pause })
    await expect(leases.withLease('n', 60_000, async () => 1)).rejects.toBe(lost)
    expect(await memory.get('leases', 'n')).toBeDefined()
    const again = next()
    elapse()
    await again
    elapse()
    await removed.opened
    expect(await memory.get('leases', 'n')).toBeUndefined()
    expect(asked).toEqual([1000, 1000])
  })
})
