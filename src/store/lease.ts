import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { McpDcrError } from '../errors.js'
import type { CredentialStore } from './contract.js'

/** Exclusion between callers, in this process and in every other on the same store. */
export interface Leases {
  /**
   * Runs `work` while nobody else runs work of the same name. Callers of one process take turns in the
   * order of their calls, and only the first of them asks the store.
   *
   * Those that name the same `outcome`, and come before the first of them is done, share what becomes of it,
   * a failure too: in turns, a hundred callers would each wait out a hanging server, one behind the other.
   *
   * Work that outlasts its lease is not stopped, and another instance may begin: choose a duration above
   * the bound of what the work does. The instances' clocks may differ by less than the time to spare.
   *
   * @param durationMs how long the lease is held at most, in milliseconds
   * @param outcome what `work` is to bring about, where it is the same for several callers. Defaults to none: nothing is shared
   * @throws McpDcrError `store_unavailable` if another instance keeps the lease past the maximum wait, and
   * what the store and `work` throw.
   */
  withLease<T>(name: string, durationMs: number, work: () => Promise<T>, outcome?: string): Promise<T>
}

export interface LeaseOptions {
  /** The current time in epoch milliseconds. */
  clock: () => number
  /** Names this instance in the record, for people who look. Defaults to the process id. */
  owner?: string
  /** Waits between two tries, in milliseconds. Defaults to a timer. */
  wait?: (ms: number) => Promise<unknown>
  /** How long to wait for another instance, in milliseconds. Defaults to twice the lease's duration. */
  maxWaitMs?: number
}

const COLLECTION = 'leases'
const FIRST_DELAY_MS = 20
const LAST_DELAY_MS = 250

export function createLeases(
  store: CredentialStore,
  { clock, owner = `pid ${process.pid}`, wait = sleep, maxWaitMs }: LeaseOptions,
): Leases {
  const lastInLine = new Map<string, Promise<void>>()
  const shared = new Map<string, Promise<unknown>>()

  async function hold<T>(name: string, durationMs: number, work: () => Promise<T>): Promise<T> {
    const token = await acquire(name, durationMs)
    try {
      return await work()
    } finally {
      // The work is done either way; a lease that cannot be given back runs out.
      await release(name, token).catch(() => undefined)
    }
  }

  async function acquire(name: string, durationMs: number): Promise<string> {
    const token = randomUUID()
    const giveUpAt = clock() + (maxWaitMs ?? 2 * durationMs)
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LAST_DELAY_MS)) {
      if (await tryToAcquire(name, token, durationMs)) return token
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
    const expiresAt = clock() + durationMs
    const lease = { owner, token, expiresAt }
    if (await store.compareAndSet(COLLECTION, name, undefined, lease, { expiresAt })) return true
    const held = await store.get(COLLECTION, name)
    if (held !== undefined && Number(held.data.expiresAt) > clock()) return false
    return store.compareAndSet(COLLECTION, name, held?.version, lease, { expiresAt })
  }

  async function release(name: string, token: string): Promise<void> {
    const held = await store.get(COLLECTION, name)
    if (held?.data.token === token) await store.delete(COLLECTION, name, held.version)
  }

  function takeTurn<T>(name: string, durationMs: number, work: () => Promise<T>): Promise<T> {
    const turn = (lastInLine.get(name) ?? Promise.resolve()).then(() => hold(name, durationMs, work))
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
  }
}
