import type { Request } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Server } from '../model.js'
import { baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import { identifyUser } from './identify-user.js'
import { createMcpFetch } from './mcp-fetch.js'
import { authorizationRequired } from './require-authorization.js'
import { serverOfUrl } from './resolve-server.js'

/** A `fetch` that failed for want of a sign-in: what the request's own answer is made of. */
export interface PendingRequirement {
  readonly server: Server
  readonly user: string
  readonly challenge: Challenge | undefined
}

/** What `req.mcp` offers to a gateway's handlers. */
export interface RequestMcp {
  /**
   * `fetch` in the name of the signed-in user: a drop-in for the MCP SDK's transports. Rejects with
   * `authorization_required` where a sign-in is needed; passed on to Express (`next(error)`, or thrown from
   * an async handler) it becomes the redirect or the message that this caller understands.
   */
  readonly fetch: typeof fetch
}

/** `req.mcp`; nothing of it costs anything before it is used. */
export function createRequestMcp(
  context: GatewayContext,
  req: Request,
  onRequirement: (requirement: PendingRequirement | McpDcrError) => void,
): RequestMcp {
  return {
    async fetch(input, init) {
      const { config, undeclared } = context
      const user = await identifyUser(config, req)
      if (user === undefined) {
        const error = userRequired(config.user === undefined)
        onRequirement(error)
        throw error
      }
      const declared = config.servers ?? (await config.serversOf(req))
      const send = createMcpFetch(context, {
        user,
        serverOf: (url) => serverOfUrl(declared.length > 0 ? declared : [...undeclared.values()], url),
        undeclared: declared.length === 0,
        onUnauthorized: (server, challenge) => {
          onRequirement({ server, user, challenge })
          throw authorizationRequired(server, baseUrlOf(config, req))
        },
      })
      return send(input, init)
    },
  }
}

export function userRequired(local: boolean): McpDcrError {
  return new McpDcrError('user_required', 'Nobody is signed in to this gateway.', {
    fix: local
      ? 'Without a user option the only user is the one at this machine: open the gateway as http://localhost, or set the user option.'
      : 'Sign in to the gateway, then try again.',
  })
}
