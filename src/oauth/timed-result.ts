/** How long a failure is used again, in milliseconds: visitors would repeat its dozen requests; a person who tries again is hardly faster. */
const FAILURE_LIFETIME = 5000

/** What work comes to, for all who ask again within a time. */
export interface TimedResult<T> {
  readonly result: Promise<T>
  /** When it was begun; once it has failed, when it did. In epoch milliseconds. */
  since: number
  hasFailed: boolean
}

/** @param clock the current time in epoch milliseconds */
export function timed<T>(result: Promise<T>, clock: () => number): TimedResult<T> {
  const known: TimedResult<T> = { result, since: clock(), hasFailed: false }
  result.catch(() => Object.assign(known, { since: clock(), hasFailed: true }))
  return known
}

/**
 * @param now in epoch milliseconds
 * @param lifetime of a result that is no failure, in milliseconds; a failure has five seconds
 */
export function isGood({ since, hasFailed }: TimedResult<unknown>, now: number, lifetime: number): boolean {
  return now - since < (hasFailed ? FAILURE_LIFETIME : lifetime)
}
