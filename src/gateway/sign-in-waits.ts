import type { ServerResponse } from 'node:http'

/** Requests that wait until somebody has signed in, by connection key. */
export interface SignInWaits {
  /**
   * Resolves at the sign-in, after `milliseconds`, or once the client has gone: whichever comes first.
   * Of one key only so many wait; the rest go on at once.
   */
  wait(key: string, milliseconds: number, res: ServerResponse): Promise<void>
  /** Somebody has signed in. */
  end(key: string): void
}

const MAX_WAITING = 20

export function createSignInWaits(): SignInWaits {
  const waiting = new Map<string, Set<() => void>>()
  return {
    wait(key, milliseconds, res) {
      const others = waiting.get(key) ?? new Set()
      if (milliseconds === 0 || others.size >= MAX_WAITING || res.destroyed) return Promise.resolve()
      waiting.set(key, others)
      return new Promise((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          res.off('close', done)
          others.delete(done)
          if (others.size === 0) waiting.delete(key)
          resolve()
        }
        const timer = setTimeout(done, milliseconds)
        res.once('close', done)
        others.add(done)
      })
    },
    end(key) {
      for (const done of [...(waiting.get(key) ?? [])]) done()
    },
  }
}
