import { compareLoad } from '../compare-load.js'
import { sendLoad } from '../load.js'
import { withPair, type Side } from '../pair.js'
import { PATH } from '../requests.js'
import { connectionOf, userAt } from '../fixtures.js'
import { atLeast, atMost, figureRow, type Row, type Scenario } from '../table.js'

const USERS = 100

const BODY = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'search', arguments: { query: 'the minutes of the last meeting' } },
})

/**
 * A small tool call of one user after the other. Without the middleware, the client's own token goes upstream: as long
 * a one as those of the users, so that both gateways send the same.
 */
const REQUESTS = requestsOf('2025-11-25')
/** Whose body is read before the handler. */
const MODERN_REQUESTS = requestsOf('2026-07-28')

function requestsOf(version: string) {
  return Array.from({ length: USERS }, (_, n) => ({
    method: 'POST' as const,
    body: BODY,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': version,
      authorization: `Bearer ${connectionOf(userAt(n), { upstream: '', redirectUri: '' }).accessToken}`,
      'x-user': userAt(n),
    },
  }))
}

export const connected: Scenario = {
  name: 'connected request',
  async run({ quick }) {
    const amount = quick ? 500 : 8000
    const rounds = quick ? { pairs: 1, rounds: 2, warmUp: 1 } : { pairs: 3, rounds: 5, warmUp: 2 }
    const goals = { perSecond: atLeast(0.97), p99: atMost(1.1) }
    const load = { path: PATH, requests: REQUESTS, amount }
    const modern = { ...load, requests: MODERN_REQUESTS }
    return [
      ...(await compareLoad(USERS, load, rounds, goals)),
      ...(await compareLoad(USERS, modern, rounds, goals, ', a client of 2026-07-28')),
      ...(await withPair(USERS, async ({ upstream, ours }) => [
        await readsPerRequest(upstream, ours, 'one process', amount),
        await readsPerRequest(upstream, ours, 'shared', amount),
      ])),
    ]
  },
}

/** A store of one process is in its memory; what counts is a shared one, which is another machine's. */
async function readsPerRequest(
  upstream: string,
  { child }: Side,
  counting: 'one process' | 'shared',
  amount: number,
): Promise<Row> {
  const setting = { upstream, middleware: 'mcp-dcr', by: 'http-proxy-middleware', users: USERS } as const
  const url = await child.ask('start', { ...setting, counting })
  const before = await child.ask('storeReads')
  await sendLoad({ url: url + PATH, requests: REQUESTS, amount })
  const reads = (await child.ask('storeReads')) - before
  const store = counting === 'shared' ? 'a shared store' : 'a store in the process'
  return figureRow(`reads of ${store} for a request`, [reads / amount], '', {
    against: `${USERS} users, ${amount.toLocaleString('en')} requests`,
  })
}
