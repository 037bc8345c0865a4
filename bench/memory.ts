import { setImmediate as turn } from 'node:timers/promises'

/** In bytes. */
export interface Memory {
  /** What JavaScript holds, buffers included. */
  readonly heap: number
  /** What the operating system has given the process. */
  readonly resident: number
}

/** The memory in use once all garbage is gone; needs `--expose-gc`. */
export async function memoryInUse(): Promise<Memory> {
  // What a closed socket holds is let go of in steps.
  for (let n = 0; n < 5; n++) {
    await turn()
    global.gc?.()
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed + external, resident: rss }
}

/** Samples the resident memory until it is stopped; `stop` returns the peak in bytes. */
export function watchResident(): { stop(): number } {
  let peak = process.memoryUsage.rss()
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5)
  return {
    stop() {
      clearInterval(timer)
      return peak
    },
  }
}
