/** One of several gateways on one store, in a process of its own. It is told by messages what to do, and answers each. */
import { createClient } from 'redis'
import { Pool } from 'pg'
import type { CredentialStore } from '../../src/index.js'
import { postgresStore } from '../../src/store/postgres.js'
import { redisStore } from '../../src/store/redis.js'
import { startDcrGateway } from '../support/dcr-gateway.js'

export interface Setting {
  storeUrl: string
  /** Milliseconds, of one call of the store. */
  storeTimeout: number
  mcpServer: string
  /** What all instances are reached by. Undefined: this one's own URL. */
  baseUrl: string | undefined
  encryptionKey: string
  /** Milliseconds, of one outgoing request. */
  timeout: number
}

export type Order =
  | { do: 'start'; setting: Setting }
  /** How far the clock is ahead of the real one, in milliseconds. */
  | { do: 'set clock'; ahead: number }
  /** So many requests of each user in an order of its own, so many of them at the same time. */
  | { do: 'ask'; users: string[]; each: number; atOnce: number }

export interface Answer {
  url: string
  /** How often each status came. */
  statuses: Record<string, number>
  /** The first few answers that were no 200. */
  failures: string[]
  /** How long an answer took, in milliseconds. */
  median: number
  slowest: number
}

let ahead = 0
let url = ''

async function openStore(storeUrl: string, timeout: number): Promise<CredentialStore> {
  if (storeUrl.startsWith('postgres')) {
    const pool = new Pool({ connectionString: storeUrl, max: 10 })
    pool.on('error', () => undefined)
    return postgresStore({ pool, timeout })
  }
  return redisStore({ client: await createClient({ url: storeUrl }).connect(), timeout })
}

async function start(setting: Setting): Promise<void> {
  const { storeUrl, storeTimeout, mcpServer, baseUrl, encryptionKey, timeout } = setting
  const store = await openStore(storeUrl, storeTimeout)
  const gateway = await startDcrGateway({
    servers: { notes: mcpServer },
    options: (own) => ({
      baseUrl: baseUrl ?? own,
      store,
      encryptionKey,
      timeout,
      clock: () => Date.now() + ahead,
    }),
  })
  url = gateway.url
}

async function ask({ users, each, atOnce }: Extract<Order, { do: 'ask' }>): Promise<Omit<Answer, 'url'>> {
  const statuses: Record<string, number> = {}
  const failures: string[] = []
  const durations: number[] = []
  const queue = Array.from({ length: each }, () => users)
    .flat()
    .map((user) => ({ user, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .values()
  const worker = async (): Promise<void> => {
    for (const { user } of queue) {
      const startedAt = performance.now()
      const answer = await fetch(`${url}/mcp/notes/page`, { headers: { 'x-user': user } })
      const text = await answer.text()
      durations.push(performance.now() - startedAt)
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      if (answer.status !== 200 && failures.length < 5) failures.push(`${user}: ${answer.status} ${text}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  durations.sort((one, other) => one - other)
  const [median = 0, slowest = 0] = [durations[durations.length >> 1], durations.at(-1)]
  return { statuses, failures, median, slowest }
}

process.on('message', (order: Order) => {
  void (async () => {
    const nothing = { statuses: {}, failures: [], median: 0, slowest: 0 }
    if (order.do === 'start') await start(order.setting)
    if (order.do === 'set clock') ahead = order.ahead
    const answer = order.do === 'ask' ? await ask(order) : nothing
    process.send?.({ url, ...answer } satisfies Answer)
  })()
})
