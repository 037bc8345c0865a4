import type { OutgoingHttpHeaders } from 'node:http'
import { startChild, withChildren, type Child } from '../processes.js'
import type { Gateway, GatewaySetting } from '../programs/gateway.js'
import type { Upstream } from '../programs/upstream.js'
import { askAll, PATH, type AskedAll } from '../requests.js'
import { interleave } from '../rounds.js'

/** The MCP SDK's `auth()` in each request, with what it obtained kept for all of them. */
const SIDES = {
  'mcp-dcr': 'mcp-dcr',
  v1: { sdk: 'v1', kept: 'for all' },
  v2: { sdk: 'v2', kept: 'for all' },
} satisfies Record<string, GatewaySetting['middleware']>

export interface AtOnce extends AskedAll {
  /** What the upstream was asked for. */
  readonly counts: Readonly<Record<string, number>>
}

/**
 * Many requests at the same time to a gateway that nobody has asked before, with each of the sides.
 *
 * @param users how many of them are connected, by a token that has expired
 */
export async function askAllAtOnce(
  users: number,
  headers: readonly OutgoingHttpHeaders[],
  rounds: number,
): Promise<Record<keyof typeof SIDES, AtOnce[]>> {
  const upstream = startChild<Upstream>('upstream')
  const gateway = startChild<Gateway>('gateway')
  const round = async (middleware: GatewaySetting['middleware']): Promise<AtOnce> => {
    const url = await begin(upstream, gateway, { middleware, users })
    const asked = await askAll(url + PATH, headers)
    return { ...asked, counts: await upstream.ask('counts') }
  }
  return withChildren([gateway, upstream], () =>
    interleave(
      { rounds, warmUp: 1 },
      {
        'mcp-dcr': () => round(SIDES['mcp-dcr']),
        v1: () => round(SIDES.v1),
        v2: () => round(SIDES.v2),
      },
    ),
  )
}

async function begin(
  upstream: Child<Upstream>,
  gateway: Child<Gateway>,
  { middleware, users }: Pick<GatewaySetting, 'middleware' | 'users'>,
): Promise<string> {
  const origin = await upstream.ask('start', 0)
  return gateway.ask('start', { upstream: origin, middleware, by: 'fetch', users, expired: true })
}
