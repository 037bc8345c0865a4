import { startChild, withChildren, type Child } from '../processes.js'
import type { Gateway, GatewaySetting } from '../programs/gateway.js'
import type { Upstream } from '../programs/upstream.js'
import { ask, NAVIGATION, PATH } from '../requests.js'
import { interleave, median } from '../rounds.js'
import { userAt } from '../fixtures.js'
import { atMost, exactly, figureRow, ratioRow, type Row, type Scenario } from '../table.js'

/** Of each call of the gateway, in milliseconds. */
const DELAY = 20

type SideSetting = Pick<GatewaySetting, 'middleware' | 'store'>

/** The SDK's side keeps everything in memory; the JSON file has a registration on disk before it is used. */
const OURS = {
  'JSON file': { middleware: 'mcp-dcr' },
  'memory store': { middleware: 'mcp-dcr', store: 'memory' },
} satisfies Record<string, SideSetting>

const SDKS = {
  v1: { middleware: { sdk: 'v1', kept: 'for each user' } },
  v2: { middleware: { sdk: 'v2', kept: 'for each user' } },
  'v1 with all kept': { middleware: { sdk: 'v1', kept: 'for all' } },
  'v2 with all kept': { middleware: { sdk: 'v2', kept: 'for all' } },
} satisfies Record<string, SideSetting>

type Own = keyof typeof OURS
type Sdk = keyof typeof SDKS
type Name = Own | Sdk

/** Of the first user and of the second, in milliseconds; the calls are those behind the first 401. */
interface Visits {
  readonly cold: Visit
  readonly second: Visit
}

interface Visit {
  readonly milliseconds: number
  readonly calls: number
}

export const redirect: Scenario = {
  name: `401 to redirect, calls delayed by ${DELAY} ms`,
  async run({ quick }) {
    const upstream = startChild<Upstream>('upstream')
    const gateway = startChild<Gateway>('gateway')
    return withChildren([gateway, upstream], async () => {
      const sides = Object.fromEntries(
        Object.entries<SideSetting>({ ...OURS, ...SDKS }).map(([name, side]) => [
          name,
          () => visitBoth(upstream, gateway, side),
        ]),
      ) as Record<Name, () => Promise<Visits>>
      const rounds = quick ? { rounds: 1, warmUp: 1 } : { rounds: 21, warmUp: 3 }
      const results = await interleave(rounds, sides)
      return (['cold', 'second'] as const).flatMap((which) => rowsOf(results, which))
    })
  },
}

function rowsOf(results: Record<Name, Visits[]>, which: keyof Visits): Row[] {
  const figures = (name: Name, figure: keyof Visit): number[] => results[name].map((it) => it[which][figure])
  // Of the first user, what is kept for others makes no difference.
  const others = (Object.keys(SDKS) as Sdk[]).filter((name) => which === 'second' || !isKeptForAll(name))
  const who = which === 'cold' ? 'first user' : 'second user'
  return [
    figureRow(`calls, ${who}`, figures('JSON file', 'calls'), '', {
      goal: exactly(which === 'cold' ? 3 : 0),
      against: others.map((name) => `${median(figures(name, 'calls'))} SDK ${name}`).join(', '),
    }),
    ...(Object.keys(OURS) as Own[]).flatMap((own) =>
      others.map((name) =>
        ratioRow({
          measure: `time, ${who}, ${own}`,
          unit: 'ms',
          ours: figures(own, 'milliseconds'),
          against: figures(name, 'milliseconds'),
          side: `SDK ${name}`,
          goal: isKeptForAll(name) ? undefined : atMost(1),
        }),
      ),
    ),
  ]
}

function isKeptForAll(name: Sdk): boolean {
  return SDKS[name].middleware.kept === 'for all'
}

/** A gateway and an upstream that know nothing of each other, and two users. */
async function visitBoth(
  upstream: Child<Upstream>,
  gateway: Child<Gateway>,
  side: SideSetting,
): Promise<Visits> {
  const origin = await upstream.ask('start', DELAY)
  const url = await gateway.ask('start', { upstream: origin, ...side, by: 'fetch', users: 0 })
  const visit = async (user: string): Promise<Visit> => {
    const before = await calls(upstream)
    const startedAt = performance.now()
    const answer = await ask(url + PATH, { ...NAVIGATION, 'x-user': user })
    const milliseconds = performance.now() - startedAt
    answer.resume()
    if (answer.statusCode !== 302) throw new Error(`A first visit was answered with ${answer.statusCode}.`)
    return { milliseconds, calls: (await calls(upstream)) - before }
  }
  return { cold: await visit(userAt(0)), second: await visit(userAt(1)) }
}

/** Without those to the MCP server itself. */
async function calls(upstream: Child<Upstream>): Promise<number> {
  const { '/mcp': _, ...counts } = await upstream.ask('counts')
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}
