import { BoundedMap } from '../bounded-map.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'
import { isDownOrBusy } from './fetch-metadata.js'

/** How long an answer is good for that nobody has asked for, in milliseconds. */
const LIFETIME = 10_000
/** How many requests are made in that time: an answer may be a megabyte. */
const MAX_ANSWERS = 20
/** Of how many requests it is remembered when they were made. */
const REMEMBERED = 1000

/** GET requests whose answer will most likely be wanted in a moment. */
export interface EarlyFetch {
  /**
   * Makes a request now, unless this was done less than `interval` ago, or many others just now. Never throws.
   *
   * @param interval in milliseconds
   */
  begin(url: URL, init: RequestInit, reach: Reach, interval: number): void
  /**
   * The answer to what was begun less than ten seconds ago; once, since what has changed meanwhile would not show.
   * Undefined where there is none, and of a request that failed or met a server that is down or busy: it may refuse
   * two at a time, or have been starting.
   */
  take(url: string | URL, reach: Reach): Promise<Response | undefined>
}

interface Early {
  readonly since: number
  readonly answer: Promise<Response | undefined>
}

/** @param clock the current time in epoch milliseconds */
export function createEarlyFetch(fetch: GuardedFetch, clock: () => number): EarlyFetch {
  const begun = new BoundedMap<string, number>(REMEMBERED)
  const answers = new Map<string, Early>()
  const keyOf = (url: string | URL, reach: Reach): string => `${reach} ${String(url)}`
  const isOld = ({ since }: Early): boolean => clock() - since >= LIFETIME
  return {
    begin(url, init, reach, interval) {
      const key = keyOf(url, reach)
      const now = clock()
      if (now - (begun.get(key) ?? -Infinity) < interval) return
      for (const [other, early] of answers) if (isOld(early)) answers.delete(other)
      if (answers.size >= MAX_ANSWERS) return
      const answer = fetch(url, init, reach).then(
        (response) => (isDownOrBusy(response.status) ? undefined : response),
        () => undefined,
      )
      begun.set(key, now)
      answers.set(key, { since: now, answer })
    },

    async take(url, reach) {
      const key = keyOf(url, reach)
      const early = answers.get(key)
      answers.delete(key)
      return early === undefined || isOld(early) ? undefined : early.answer
    },
  }
}
