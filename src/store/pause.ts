import { setTimeout as sleep } from 'node:timers/promises'

/** Waits so many milliseconds in the background; rejects when aborted. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<unknown>

/** By a timer that does not keep the process. */
export const pauseByTimer: Pause = (ms, signal) =>
  sleep(ms, undefined, { ref: false, ...(signal && { signal }) })
