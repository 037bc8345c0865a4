import { startChild, withChildren, type Child } from './processes.js'
import type { Gateway, GatewaySetting } from './programs/gateway.js'
import type { Upstream } from './programs/upstream.js'
import { interleave, type Rounds } from './rounds.js'

/** One of the two gateways that are compared. */
export interface Side {
  readonly child: Child<Gateway>
  readonly url: string
}

/**
 * Two gateways of connected users before one upstream, each in a process of its own: they differ in the middleware
 * alone. Both load the same modules, since V8 collects otherwise in a process that has loaded hardly any.
 */
export async function withPair<T>(
  users: number,
  work: (pair: { ours: Side; without: Side; upstream: string }) => Promise<T>,
): Promise<T> {
  const upstream = startChild<Upstream>('upstream')
  const ours = startChild<Gateway>('gateway')
  const without = startChild<Gateway>('gateway')
  return withChildren([ours, without, upstream], async () => {
    const origin = await upstream.ask('start', 0)
    const setting = { upstream: origin, by: 'http-proxy-middleware', users } as const
    const begin = async (child: Child<Gateway>, middleware: GatewaySetting['middleware']): Promise<Side> => ({
      child,
      url: await child.ask('start', { ...setting, middleware }),
    })
    return work({
      ours: await begin(ours, 'mcp-dcr'),
      without: await begin(without, 'none'),
      upstream: origin,
    })
  })
}

/** What both gateways came to, in the same order. */
type Compared<T> = Record<'ours' | 'without', T[]>

/** One figure of what both came to, as a row compares them. */
export function sidesOf<T>(
  { ours, without }: Compared<T>,
  figure: (it: T) => number,
): { ours: number[]; against: number[]; side: string } {
  return { ours: ours.map(figure), against: without.map(figure), side: 'without' }
}

/** The rounds of one pair of processes, and how many pairs there are. */
export interface PairedRounds extends Rounds {
  readonly pairs: number
}

/**
 * Measures both gateways in turns, in several pairs of processes one after the other: of two processes of the same
 * program, one is faster by some percent for as long as it lives.
 */
export async function comparePairs<T>(
  users: number,
  { pairs, ...rounds }: PairedRounds,
  measure: (side: Side) => Promise<T>,
): Promise<Compared<T>> {
  const all: Compared<T> = { ours: [], without: [] }
  for (let pair = 0; pair < pairs; pair++) {
    const { ours, without } = await withPair(users, (sides) =>
      interleave(rounds, { ours: () => measure(sides.ours), without: () => measure(sides.without) }),
    )
    all.ours.push(...ours)
    all.without.push(...without)
  }
  return all
}
