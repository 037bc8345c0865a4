import { McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import type { CredentialStore } from './contract.js'
import { pauseByTimer, type Pause } from './pause.js'

/** Between two probes of a store that does not answer, in milliseconds. */
const PROBE_EVERY = 1000

/** A store that fails at once while its backend does not answer. */
export interface Breaker {
  readonly store: CredentialStore
  /** Ends the probing: from now on, each call is the store's own to answer. */
  end(): void
}

/**
 * While a backend is gone, every call would wait out the store's timeout. So once one has failed with
 * `store_unavailable`, and none has succeeded since that one began, all fail at once with this code, until a probe in
 * the background succeeds. Reads that are under way then fail too. Writes do not: they may still be carried out, and
 * whoever made them wants to know.
 *
 * @param pause waits between two probes. Defaults to a timer
 */
export function createBreaker(store: CredentialStore, logger: Logger, pause: Pause = pauseByTimer): Breaker {
  const ended = new AbortController()
  const reads = new Set<(error: McpDcrError) => void>()
  let successes = 0
  /** Why nothing is asked; undefined while all is. */
  let failure: McpDcrError | undefined

  function onFailure(error: unknown, successesBefore: number): void {
    const isGone = error instanceof McpDcrError && error.code === 'store_unavailable'
    if (!isGone || successes !== successesBefore || failure !== undefined || ended.signal.aborted) return
    failure = error
    logger.warn('the store does not answer; what is not in memory fails until it does', { error })
    for (const reject of reads) reject(notAsked('read', error))
    void probe()
  }

  async function probe(): Promise<void> {
    while (failure !== undefined) {
      try {
        await store.get('leases', 'probe')
        onAnswer()
      } catch {
        await pause(PROBE_EVERY, ended.signal).catch(() => undefined)
      }
    }
  }

  function onAnswer(): void {
    // Of calls that began before, the failures that are still to come say nothing of it any more.
    successes++
    if (failure === undefined) return
    failure = undefined
    logger.info('the store answers again')
  }

  async function watch<T>(at: 'read' | 'write', call: () => Promise<T>): Promise<T> {
    if (failure !== undefined) throw notAsked(at, failure)
    const before = successes
    try {
      const outcome = await call()
      successes++
      return outcome
    } catch (error) {
      onFailure(error, before)
      throw error
    }
  }

  async function unlessGone<T>(read: Promise<T>): Promise<T> {
    let giveUp: (error: McpDcrError) => void = () => undefined
    // Not a race with one promise for all, which would keep what each has waited for.
    const outcome = new Promise<T>((resolve, reject) => {
      giveUp = reject
      read.then(resolve, reject)
    })
    reads.add(giveUp)
    return outcome.finally(() => reads.delete(giveUp))
  }

  return {
    store: {
      shared: store.shared,

      get: (...given) => watch('read', () => unlessGone(store.get(...given))),
      compareAndSet: (...given) => watch('write', () => store.compareAndSet(...given)),
      delete: (...given) => watch('write', () => store.delete(...given)),

      async *list(...given) {
        const before = successes
        const records = store.list(...given)[Symbol.asyncIterator]()
        try {
          for (;;) {
            if (failure !== undefined) throw notAsked('read', failure)
            const next = await unlessGone(records.next())
            if (next.done === true) return
            yield next.value
          }
        } catch (error) {
          onFailure(error, before)
          throw error
        } finally {
          // Nobody waits: it may be held up by the backend.
          void records.return?.().catch(() => undefined)
        }
      },

      async close() {
        await store.close?.()
      },
    },

    end() {
      ended.abort()
      failure = undefined
    },
  }
}

function notAsked(at: 'read' | 'write', cause: McpDcrError): McpDcrError {
  const written = at === 'write' ? '; nothing was written' : ''
  return new McpDcrError(
    'store_unavailable',
    `The store did not answer, and is tried again in the background every second${written}.`,
    { cause, fix: cause.fix ?? 'Try again in a moment; the gateway need not be restarted.' },
  )
}
