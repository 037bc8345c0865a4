import type { Request } from 'express'
import { McpDcrError } from '../errors.js'
import { baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import { identifyUser } from './identify-user.js'
import { createMcpFetch } from './mcp-fetch.js'
import { sessionIdOf } from './mcp-client.js'
import { authorizationRequired } from './require-authorization.js'
import { serverOfUrl } from './resolve-server.js'
import { undeclaredServers } from './undeclared.js'

/** What `req.mcp` offers to a gateway's handlers. */
export interface RequestMcp {
  /**
   * `fetch` in the name of the signed-in user: a drop-in for the MCP SDK's transports. Rejects with
   * `AuthorizationRequiredError` where a sign-in is needed; passed on to Express (`next(error)`, or with Express 5
   * thrown from an async handler) it becomes the redirect or the message that this caller understands.
   *
   * @throws AuthorizationRequiredError; McpDcrError `user_required`, `token_rejected`, `token_renewed` (repeat
   * the request), `refresh_failed` (try later), and what discovery throws
   */
  readonly fetch: typeof fetch
}

const hooked = new WeakSet()
/** Whether requests of a prototype inherit from a hooked one. */
const inheriting = new WeakMap<object, boolean>()

/**
 * Gives the requests that inherit from a prototype, `express.request` for one, their `req.mcp`; calling it again
 * changes nothing. A property of each request would cost more than all else on a route that is no MCP server's.
 *
 * @param mcpOf undefined for a request that has not come by the middleware
 */
export function hookRequests(prototype: object, mcpOf: (req: Request) => RequestMcp | undefined): void {
  if (hooked.has(prototype)) return
  hooked.add(prototype)
  // Of another copy of this package.
  const earlier = Object.getOwnPropertyDescriptor(prototype, 'mcp')
  Object.defineProperty(prototype, 'mcp', {
    configurable: true,
    enumerable: true,
    get(this: Request): unknown {
      return mcpOf(this) ?? (earlier?.get?.call(this) as unknown)
    },
    // As if it were a property of the request.
    set(this: Request, value: unknown) {
      Object.defineProperty(this, 'mcp', { value, writable: true, configurable: true, enumerable: true })
    },
  })
}

/** Whether a request is of a prototype that {@link hookRequests} has hooked, and not of another copy of Express. */
export function isHooked(req: Request): boolean {
  const prototype = Object.getPrototypeOf(req) as object
  const known = inheriting.get(prototype)
  if (known !== undefined) return known
  let found = false
  for (let layer: object | null = prototype; layer !== null && !found;) {
    found = hooked.has(layer)
    layer = Object.getPrototypeOf(layer) as object | null
  }
  inheriting.set(prototype, found)
  return found
}

/**
 * `req.mcp`; nothing of it costs anything before it is used.
 *
 * @param onFailure told why a `fetch` failed, so that the request can be answered with it
 */
export function createRequestMcp(
  context: GatewayContext,
  req: Request,
  onFailure: (error: McpDcrError) => void,
): RequestMcp {
  return {
    async fetch(input, init) {
      try {
        const send = await fetchOf(context, req)
        return await send(input, init)
      } catch (error) {
        if (error instanceof McpDcrError) onFailure(error)
        throw error
      }
    },
  }
}

async function fetchOf(context: GatewayContext, req: Request): Promise<typeof fetch> {
  const { config } = context
  const user = await identifyUser(config, req)
  if (user === undefined) throw userRequired(config.user === undefined)
  const declared = config.servers ?? (await config.serversOf(req))
  return createMcpFetch(context, {
    user,
    serverOf: (url) => serverOfUrl(config.undeclared ? undeclaredServers(context, user) : declared, url),
    undeclared: config.undeclared,
    onUnauthorized: (server, challenge) => {
      throw authorizationRequired(
        context,
        { server, user, challenge },
        baseUrlOf(config, req),
        sessionIdOf(req),
      )
    },
  })
}

export function userRequired(local: boolean): McpDcrError {
  return new McpDcrError('user_required', 'Nobody is signed in to this gateway.', {
    fix: local
      ? 'Without a user option the only user is the one at this machine: open the gateway as http://localhost, or set the user option.'
      : 'Sign in to the gateway, then try again.',
  })
}
