import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { McpDcrError } from '../errors.js'
import type { CredentialStore } from './contract.js'
import { pauseByTimer, type Pause } from './pause.js'

/** Exclusion between callers, in this process and in every other on the same store. */
export interface Leases {
  /**
   * Runs `work` while nobody else runs work of the same name. Callers of one process take turns in the
   * order of their calls, and only the first of them asks the store.
   *
   * Those that name the same `outcome`, and come before the first of them is done, share what becomes of it,
   * a failure too: in turns, a hundred callers would each wait out a hanging server, one behind the other.
   *
   * The lease is short, and renewed while the work runs: where an instance dies, another one goes on within 15
   * seconds. Work that outlasts its duration is not stopped, and another instance may begin: choose one above
   * the bound of what the work does. The instances' clocks may differ by a few seconds.
   *
   * @param durationMs for how long the lease is renewed at most, in milliseconds
   * @param outcome what `work` is to bring about, where it is the same for several callers. Defaults to none: nothing is shared
   * @throws McpDcrError `store_unavailable` if another instance keeps the lease past the maximum wait, counted
   * from the call, and what the store and `work` throw.
   */
  withLease<T>(name: string, durationMs: number, work: () => Promise<T>, outcome?: string): Promise<T>
  /** Resolves once no work by these leases is under way in this process, or after so many milliseconds. */
  idle(maxWaitMs: number): Promise<void>
}

export interface LeaseOptions {
  /** The current time in epoch milliseconds. */
  clock: () => number
  /** Names this instance in the record, for people who look. Defaults to the process id. */
  owner?: string
  /** Waits between two tries, in milliseconds. Defaults to a timer. */
  wait?: (ms: number) => Promise<unknown>
  /** Waits between two renewals, and the like, in milliseconds, without keeping the process; rejects when aborted. Defaults to a timer. */
  pause?: Pause
  /** How long to wait for another instance, in milliseconds. Defaults to 20 seconds: people wait. */
  maxWaitMs?: number
}

const COLLECTION = 'leases'
const FIRST_DELAY_MS = 20
const LAST_DELAY_MS = 250
/** Above two renewals and the time that the store may take for one. */
const LEASE_MS = 15_000
const RENEWAL_MS = 5_000
/** Between two tries to give back a lease that may have been written. */
const RELEASE_MS = 1_000
/** Above the lease of an instance that has died. */
const MAX_WAIT_MS = 20_000

interface Request {
  readonly name: string
  readonly durationMs: number
  /** Epoch milliseconds. */
  readonly giveUpAt: number
}

export function createLeases(
  store: CredentialStore,
  {
    clock,
    owner = `pid ${process.pid}`,
    wait = sleep,
    pause = pauseByTimer,
    maxWaitMs = MAX_WAIT_MS,
  }: LeaseOptions,
): Leases {
  const lastInLine = new Map<string, Promise<void>>()
  const shared = new Map<string, Promise<unknown>>()

  async function hold<T>(request: Request, work: () => Promise<T>): Promise<T> {
    const token = await acquire(request)
    const done = new AbortController()
    const renewals = renew(request, token, clock() + request.durationMs, done.signal)
    try {
      return await work()
    } finally {
      done.abort()
      // One under way would write the lease again.
      await renewals
      // The work is done either way; a lease that cannot be given back runs out.
      await release(request.name, token).catch(() => undefined)
    }
  }

  async function acquire({ name, durationMs, giveUpAt }: Request): Promise<string> {
    const token = randomUUID()
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LAST_DELAY_MS)) {
      const isMine = await tryToAcquire(name, token, durationMs).catch((error: unknown) => {
        void releaseLater(name, token)
        throw error
      })
      if (isMine) return token
      if (clock() >= giveUpAt) {
        throw new McpDcrError(
          'store_unavailable',
          'Another instance of the gateway is still busy with this.',
          {
            fix: 'Try again in a moment.',
          },
        )
      }
      await wait(delay * (0.5 + Math.random()))
    }
  }

  async function tryToAcquire(name: string, token: string, durationMs: number): Promise<boolean> {
    const expiresAt = clock() + Math.min(durationMs, LEASE_MS)
    const lease = { owner, token, expiresAt }
    if (await store.compareAndSet(COLLECTION, name, undefined, lease, { expiresAt })) return true
    const held = await store.get(COLLECTION, name)
    if (held !== undefined && Number(held.data.expiresAt) > clock()) return false
    return store.compareAndSet(COLLECTION, name, held?.version, lease, { expiresAt })
  }

  /** Ends when the signal says so, at `lastUntil`, or when the lease is somebody else's. */
  async function renew(
    { name }: Request,
    token: string,
    lastUntil: number,
    signal: AbortSignal,
  ): Promise<void> {
    for (let isMine = true; isMine && clock() + LEASE_MS < lastUntil;) {
      await pause(RENEWAL_MS, signal).catch(() => undefined)
      if (signal.aborted) return
      // Where the store fails, the next renewal may come in time.
      isMine = await renewOnce(name, token, lastUntil).catch(() => true)
    }
  }

  async function renewOnce(name: string, token: string, lastUntil: number): Promise<boolean> {
    const held = await store.get(COLLECTION, name)
    if (held?.data.token !== token) return false
    const expiresAt = Math.min(clock() + LEASE_MS, lastUntil)
    return store.compareAndSet(COLLECTION, name, held.version, { owner, token, expiresAt }, { expiresAt })
  }

  async function release(name: string, token: string): Promise<void> {
    const held = await store.get(COLLECTION, name)
    if (held?.data.token === token) await store.delete(COLLECTION, name, held.version)
  }

  /** The store may have written a lease all the same, its answer lost: nobody would hold it. */
  async function releaseLater(name: string, token: string): Promise<void> {
    for (const until = clock() + LEASE_MS; clock() < until;) {
      await pause(RELEASE_MS)
      const isAnswered = await release(name, token).then(
        () => true,
        () => false,
      )
      if (isAnswered) return
    }
  }

  function takeTurn<T>(name: string, durationMs: number, work: () => Promise<T>): Promise<T> {
    const request = { name, durationMs, giveUpAt: clock() + maxWaitMs }
    const turn = (lastInLine.get(name) ?? Promise.resolve()).then(() => hold(request, work))
    const after = turn.then(
      () => undefined,
      () => undefined,
    )
    lastInLine.set(name, after)
    void after.then(() => {
      if (lastInLine.get(name) === after) lastInLine.delete(name)
    })
    return turn
  }

  return {
    withLease<T>(name: string, durationMs: number, work: () => Promise<T>, outcome?: string): Promise<T> {
      if (outcome === undefined) return takeTurn(name, durationMs, work)
      const key = JSON.stringify([name, outcome])
      const known = shared.get(key)
      if (known !== undefined) return known as Promise<T>
      const first = takeTurn(name, durationMs, work).finally(() => shared.delete(key))
      shared.set(key, first)
      return first
    },

    async idle(maxWaitMs) {
      const done = new AbortController()
      const isLate = pause(maxWaitMs, done.signal).then(
        () => true,
        () => true,
      )
      const isQuiet = (): Promise<boolean> =>
        Promise.all(lastInLine.values()).then(() => lastInLine.size === 0)
      // Work that has ended may have led to more.
      for (let isOver = false; !isOver;) isOver = await Promise.race([isQuiet(), isLate])
      done.abort()
    },
  }
}
