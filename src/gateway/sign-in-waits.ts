import type { ServerResponse } from 'node:http'

/** Requests that wait until somebody has signed in, by connection key. */
export interface SignInWaits {
  /**
   * Resolves at the sign-in, to `declined` where there will be none, after `milliseconds`, or once the client has
   * gone: whichever comes first. Of one key only so many wait; the rest go on at once.
   */
  wait(key: string, milliseconds: number, res: ServerResponse): Promise<'declined' | undefined>
  /** Somebody has signed in, or declined to. */
  end(key: string, outcome?: 'declined'): void
}

const MAX_WAITING = 20

export function createSignInWaits(): SignInWaits {
  const waiting = new Map<string, Set<(outcome?: 'declined') => void>>()
  return {
    wait(key, milliseconds, res) {
      const others = waiting.get(key) ?? new Set()
      if (milliseconds === 0 || others.size >= MAX_WAITING || res.destroyed) return Promise.resolve(undefined)
      waiting.set(key, others)
      return new Promise((resolve) => {
        const done = (outcome?: 'declined'): void => {
          clearTimeout(timer)
          res.off('close', leave)
          others.delete(done)
          if (others.size === 0) waiting.delete(key)
          resolve(outcome)
        }
        const leave = (): void => done()
        const timer = setTimeout(leave, milliseconds)
        res.once('close', leave)
        others.add(done)
      })
    },
    end(key, outcome) {
      for (const done of [...(waiting.get(key) ?? [])]) done(outcome)
    },
  }
}
