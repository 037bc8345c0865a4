import autocannon from 'autocannon'
import { quantile } from './rounds.js'

export interface Load {
  readonly url: string
  /** Sent in turns. */
  readonly requests: autocannon.Request[]
  /** How many requests in all. */
  readonly amount: number
}

const CONNECTIONS = 32

export interface LoadResult {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p99: number
}

/**
 * Sends requests over keep-alive connections as fast as they are answered.
 *
 * @throws Error where one is not answered with a 200
 */
export async function sendLoad({ url, requests, amount }: Load): Promise<LoadResult> {
  const latencies: number[] = []
  const startedAt = performance.now()
  let endedAt = startedAt
  await new Promise<void>((resolve, reject) => {
    const instance = autocannon(
      { url, requests, connections: CONNECTIONS, amount },
      (error: unknown, result) => {
        const failed = result.errors + result.timeouts + result.non2xx
        if (error instanceof Error) reject(error)
        else if (failed > 0) reject(new Error(`${failed} of ${amount} requests to ${url} failed`))
        else resolve()
      },
    )
    // Its own histogram knows whole milliseconds, and it ends with a second's tick.
    instance.on('response', (_client, _status, _bytes, latency) => {
      latencies.push(latency)
      endedAt = performance.now()
    })
  })
  return { perSecond: (latencies.length / (endedAt - startedAt)) * 1000, p99: quantile(latencies, 0.99) }
}
