import { startChild, withChildren, type Child } from './processes.js'
import type { Gateway, GatewaySetting } from './programs/gateway.js'
import type { Upstream } from './programs/upstream.js'

/** One of the two gateways that are compared. */
export interface Side {
  readonly child: Child<Gateway>
  readonly url: string
}

/** Two gateways of connected users before one upstream, each in a process of its own: they differ in the middleware alone. */
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
