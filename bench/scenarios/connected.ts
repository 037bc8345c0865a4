import { sendLoad } from '../load.js'
import { withPair, type Side } from '../pair.js'
import { PATH } from '../requests.js'
import { interleave, type Rounds } from '../rounds.js'
import { userAt } from '../fixtures.js'
import { atLeast, atMost, figureRow, ratioRow, type Row, type Scenario } from '../table.js'

const USERS = 100
const CONNECTIONS = 32

const BODY = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'search', arguments: { query: 'the minutes of the last meeting' } },
})

/** A small tool call of one user after the other. Without the middleware, the client's own token goes upstream. */
const REQUESTS = Array.from({ length: USERS }, (_, n) => ({
  method: 'POST' as const,
  body: BODY,
  headers: {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    authorization: 'Bearer live-client',
    'x-user': userAt(n),
  },
}))

export const connected: Scenario = {
  name: 'connected request',
  async run({ quick }) {
    const amount = quick ? 500 : 8000
    const rounds = quick ? { rounds: 2, warmUp: 1 } : { rounds: 15, warmUp: 2 }
    return withPair(USERS, async ({ upstream, ...sides }) => [
      ...(await compare(sides, amount, rounds)),
      await readsPerRequest(upstream, sides.ours, 'one process', amount),
      await readsPerRequest(upstream, sides.ours, 'shared', amount),
    ])
  },
}

async function compare(
  { ours, without }: Record<'ours' | 'without', Side>,
  amount: number,
  rounds: Rounds,
): Promise<Row[]> {
  const results = await interleave(rounds, {
    ours: () => measure(ours, amount),
    without: () => measure(without, amount),
  })
  const row = (figure: 'perSecond' | 'p99' | 'cpu', measure: string, unit: string): Row =>
    ratioRow({
      measure,
      unit,
      ours: results.ours.map((it) => it[figure]),
      against: results.without.map((it) => it[figure]),
      side: 'without',
      goal: { perSecond: atLeast(0.97), p99: atMost(1.1), cpu: undefined }[figure],
    })
  return [
    row('perSecond', 'throughput', 'req/s'),
    row('p99', 'latency, p99', 'ms'),
    row('cpu', 'processor time of the gateway for a request', 'µs'),
  ]
}

async function measure(
  { child, url }: Side,
  amount: number,
): Promise<Record<'perSecond' | 'p99' | 'cpu', number>> {
  const before = await child.ask('cpuTime')
  const result = await sendLoad({ url: url + PATH, requests: REQUESTS, connections: CONNECTIONS, amount })
  return { ...result, cpu: (((await child.ask('cpuTime')) - before) / amount) * 1000 }
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
  await sendLoad({ url: url + PATH, requests: REQUESTS, connections: CONNECTIONS, amount })
  const reads = (await child.ask('storeReads')) - before
  const store = counting === 'shared' ? 'a shared store' : 'a store in the process'
  return figureRow(`reads of ${store} for a request`, [reads / amount], '', {
    against: `${USERS} users, ${amount.toLocaleString('en')} requests`,
  })
}
