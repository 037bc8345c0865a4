import { McpDcrError } from '../errors.js'

/** What failed: reading, writing, or a write that the backend itself has refused. */
export type FailedAt = 'read' | 'write' | 'refused write'

/**
 * The error of a shared store whose backend failed.
 *
 * @param backend its name
 * @param cause the client's error
 */
export function backendError(backend: string, at: FailedAt, cause: unknown): McpDcrError {
  const { message } = cause as Error
  if (at === 'refused write') {
    return new McpDcrError('store_write_failed', `${backend} refused to write: ${message}`, {
      cause,
      fix: `Mend what ${backend} complains about, then try again; what was stored before is kept.`,
    })
  }
  const what = at === 'read' ? 'The store could not be read' : 'It is not known whether the store was written'
  return new McpDcrError('store_unavailable', `${what}; ${backend} says: ${message}`, {
    cause,
    fix: `Have ${backend} running and reachable, then try again; the gateway need not be restarted.`,
  })
}

/** What a backend that does not answer in time says. */
export function noAnswer(timeout: number): Error {
  return new Error(`no answer within ${timeout} ms`)
}
