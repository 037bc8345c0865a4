import { BoundedMap } from '../bounded-map.js'
import { McpDcrError } from '../errors.js'
import type { Challenge, Server } from '../model.js'
import { bareServer } from '../oauth/bare-server.js'
import { reachOf } from '../security/guarded-fetch.js'
import type { GatewayContext } from './context.js'
import { serverOfUrl } from './resolve-server.js'

/** How many undeclared servers are remembered of one user. */
const MAX_PER_USER = 100

/** The undeclared servers that this user has met through their challenge. */
export function undeclaredServers({ undeclared }: GatewayContext, user: string): readonly Server[] {
  return [...(undeclared.get(user)?.values() ?? [])]
}

/**
 * An undeclared upstream becomes a server by what the metadata that its challenge names says it is.
 *
 * @param upstream where the challenge came from, where that is known
 * @throws McpDcrError `resource_mismatch` where the metadata is another server's: its token must not go there
 */
export async function meetUndeclared(
  context: GatewayContext,
  user: string,
  challenge: Challenge,
  upstream?: URL,
): Promise<Server> {
  const reach = upstream && (context.config.local ? reachOf(upstream.href) : 'public')
  const { resource } = await context.oauth.discover(undefined, challenge, reach && { reach })
  const server = context.undeclared.get(user)?.get(resource) ?? undeclaredServer(resource)
  if (upstream !== undefined && serverOfUrl([server], upstream) === undefined) {
    throw new McpDcrError(
      'resource_mismatch',
      `${upstream.origin}${upstream.pathname} names the metadata of another resource: ${resource}.`,
      { fix: 'Check the URL that is fetched. A token for one server is never sent to another.' },
    )
  }
  rememberUndeclared(context, user, server)
  return server
}

export function rememberUndeclared({ undeclared }: GatewayContext, user: string, server: Server): void {
  const met = undeclared.get(user) ?? new BoundedMap<string, Server>(MAX_PER_USER)
  undeclared.set(user, met.set(server.name, server))
}

/** The server that an undeclared upstream's resource identifier stands for. */
export function undeclaredServer(resource: string): Server {
  return bareServer(resource, resource)
}
