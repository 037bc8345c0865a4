import type { Request } from 'express'
import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { GatewayContext } from '../gateway/context.js'
import { identifyUser } from '../gateway/identify-user.js'
import { userRequired } from '../gateway/request-mcp.js'
import { undeclaredServers } from '../gateway/undeclared.js'
import type { Server } from '../model.js'

/** The signed-in user, or `user_required`. */
export async function requireUser({ config }: GatewayContext, req: Request): Promise<string> {
  const user = await identifyUser(config, req)
  if (user === undefined) throw userRequired(config.user === undefined)
  return user
}

/** The servers of this request: the declared ones, or those that this user has met through their challenge. */
export async function serversOfRequest(
  context: GatewayContext,
  req: Request,
  user: string,
): Promise<readonly Server[]> {
  const { config } = context
  if (config.undeclared) return undeclaredServers(context, user)
  return config.servers ?? (await config.serversOf(req))
}

/** The server of this name, or `unknown_server`. */
export async function requireServer(
  context: GatewayContext,
  req: Request,
  user: string,
  name: unknown,
): Promise<Server> {
  const server = (await serversOfRequest(context, req, user)).find((candidate) => candidate.name === name)
  if (server !== undefined) return server
  throw new McpDcrError('unknown_server', `This gateway has no MCP server "${quoteUntrusted(name)}".`, {
    fix: 'Check the address: its last part has to be the name of a server that this gateway declares.',
  })
}
