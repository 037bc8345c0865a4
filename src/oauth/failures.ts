import { BoundedMap } from '../bounded-map.js'
import { McpDcrError, type ErrorCode } from '../errors.js'
import type { Server } from '../model.js'

/** How many failures are remembered. */
const MAX_FAILURES = 10_000

/** What an attempt came to. */
export interface Failure {
  readonly code: ErrorCode
  /** What to do about it. */
  readonly fix: string | undefined
  /** Epoch milliseconds. */
  readonly at: number
}

/**
 * What failed when it was last tried, by what it concerns: a server, for discovery and registration
 * ({@link failureKey}); a connection, by its key, for its refresh. In this process alone: it is for people to see,
 * and decides nothing.
 */
export interface Failures {
  get(key: string): Failure | undefined
  note(key: string, error: McpDcrError): void
  clear(key: string): void
  /** Runs work: its failure is noted and thrown, its success clears what was noted before. */
  watch<T>(key: string, work: () => Promise<T>): Promise<T>
}

export function createFailures(clock: () => number): Failures {
  const failures = new BoundedMap<string, Failure>(MAX_FAILURES)
  const note = (key: string, { code, fix }: McpDcrError): void =>
    void failures.set(key, { code, fix, at: clock() })
  return {
    get: (key) => failures.get(key),
    note,
    clear: (key) => void failures.delete(key),
    async watch(key, work) {
      try {
        const result = await work()
        failures.delete(key)
        return result
      } catch (thrown) {
        if (thrown instanceof McpDcrError) note(key, thrown)
        throw thrown
      }
    },
  }
}

/** With the configuration: where servers are a function of the request, one name may stand for several. No connection's key has a bracket. */
export function failureKey({ name, url, oauth }: Server): string {
  return JSON.stringify([name, url, oauth])
}
