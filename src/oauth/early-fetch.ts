import { BoundedMap } from '../bounded-map.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'

/** How long an answer is good for that nobody has asked for, in milliseconds. */
const LIFETIME = 10_000
/** How many answers are kept: each may be a megabyte. */
const KEPT = 100

/** GET requests whose answer will most likely be wanted in a moment. */
export interface EarlyFetch {
  /**
   * Makes a request now, unless this was done less than `interval` ago. Never throws: why it failed is for who takes it.
   *
   * @param interval in milliseconds
   */
  begin(url: URL, init: RequestInit, reach: Reach, interval: number): void
  /** The answer to what was begun less than ten seconds ago; once, since what has changed meanwhile would not show. */
  take(url: string | URL, reach: Reach): Promise<Response> | undefined
}

interface Early {
  readonly since: number
  answer: Promise<Response> | undefined
}

/** @param clock the current time in epoch milliseconds */
export function createEarlyFetch(fetch: GuardedFetch, clock: () => number): EarlyFetch {
  const begun = new BoundedMap<string, Early>(KEPT)
  const keyOf = (url: string | URL, reach: Reach): string => `${reach} ${String(url)}`
  return {
    begin(url, init, reach, interval) {
      const key = keyOf(url, reach)
      const before = begun.get(key)
      if (before !== undefined && clock() - before.since < interval) return
      const answer = fetch(url, init, reach)
      answer.catch(() => undefined)
      begun.set(key, { since: clock(), answer })
    },

    take(url, reach) {
      const early = begun.get(keyOf(url, reach))
      if (early === undefined || clock() - early.since >= LIFETIME) return undefined
      const { answer } = early
      early.answer = undefined
      return answer
    },
  }
}
