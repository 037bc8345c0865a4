import express, {
  type ErrorRequestHandler,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from 'express'
import { connectionStates, type ConnectionState } from './connections.js'
import { McpDcrError } from './errors.js'
import { answerError } from './gateway/answer-error.js'
import { ROUTES_PATH } from './gateway/base-url.js'
import { createContext } from './create-context.js'
import type { GatewayContext } from './gateway/context.js'
import { hookResponses } from './gateway/intercept.js'
import { createMcpFetch } from './gateway/mcp-fetch.js'
import { hookBodies } from './gateway/posted-body.js'
import { refreshConnection } from './gateway/refresh-connection.js'
import { hookRequests, type RequestMcp } from './gateway/request-mcp.js'
import { authorizationRequired } from './gateway/require-authorization.js'
import { serverOfUrl } from './gateway/resolve-server.js'
import { mcpOf, serveRequest } from './gateway/serve-request.js'
import { postedOf } from './gateway/visit.js'
import { warmServers, type WarmResult } from './gateway/warm.js'
import type { Server } from './model.js'
import { disconnect, forgetServer } from './oauth/disconnect.js'
import type { Options } from './options.js'
import type { Registrations } from './registrations.js'
import { resolveOptions } from './resolve-options.js'
import { createRoutes } from './routes/index.js'
import type { ResealReport } from './store/records.js'

/** The middleware, and what a gateway's own code can ask of it. */
export interface McpDcr extends RequestHandler {
  /**
   * `fetch` in a user's name, outside of a request. Rejects with `authorization_required` where that user has
   * to sign in; its `authorizationUrl` needs the `baseUrl` option.
   *
   * @throws McpDcrError `unknown_server`; `invalid_options` where `servers` is a function of the request
   */
  fetch(user: string, server: string): typeof fetch
  /**
   * How a user stands with each declared server.
   *
   * @throws McpDcrError `invalid_options` where `servers` is a function of the request
   */
  connections(user: string): Promise<ConnectionState[]>
  /**
   * Refreshes a user's connection now, and resolves to its new state.
   *
   * @throws McpDcrError `authorization_required` where that user is not connected, `nothing_to_refresh` where there
   * is no refresh token, `refresh_failed` where trying later may help; `unknown_server`; `invalid_options` where
   * `servers` is a function of the request
   */
  refresh(user: string, server: string): Promise<ConnectionState>
  /**
   * Does now what the first sign-in at each declared server would wait for: asks it for its challenge, discovers
   * its authorization server, and registers. What is discovered is used for five minutes, a registration for good;
   * where sign-ins come seldom, call it at that interval. A server that fails is reported, in the order of the
   * declaration, and keeps no other one from being warmed. Each request is bounded by the `timeout` option.
   *
   * @throws McpDcrError `invalid_options` where `baseUrl` is not configured, or `servers` is a function of the
   * request
   */
  warm(): Promise<WarmResult[]>
  /**
   * Mounted after the routes, answers their errors that are ours, as those of `fetch`, `refresh` or a library that
   * has wrapped one (`cause`), in the form that the caller understands; all others are passed on.
   */
  readonly errorHandler: ErrorRequestHandler
  /** The client registrations: what is held, and its management at the issuer (RFC 7592). */
  readonly registrations: Registrations
  /**
   * Ends a user's connection: revokes its tokens (RFC 7009) as far as the issuer lets us, and deletes them.
   * Resolves to whether there was one.
   */
  disconnect(user: string, server: string): Promise<boolean>
  /**
   * Deletes all that is held of a server, declared or not any more: disconnects everybody, and deletes its
   * registrations, at their issuer too where it lets us.
   */
  forget(server: string): Promise<void>
  /**
   * Seals anew, with the newest encryption key, all that an earlier one has sealed: afterwards the earlier ones can go.
   * A gateway that starts with several keys does so by itself, in the background.
   *
   * @throws McpDcrError `store_unavailable`, `store_write_failed`; what was sealed anew until then stays so
   */
  reseal(): Promise<ResealReport>
  /**
   * Releases the store, after the sign-ins and refreshes that are under way, for which it waits 25 seconds at most, and pending
   * writes. Stop listening before, and end the store's own pool or client after it.
   */
  close(): Promise<void>
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- how Express types are extended
  namespace Express {
    interface Request {
      /** What mcp-dcr offers to handlers: of the request that has passed the middleware, and of what inherits from it; copies have none. */
      mcp: RequestMcp
    }
  }
}

/**
 * Signs people in to the OAuth-protected MCP servers behind a gateway. Mount it before the routes that lead
 * to them.
 *
 * @throws McpDcrError at once, for options that cannot be used, a missing or wrong encryption key, or a store
 * that another process holds or that is damaged
 */
export function mcpDcr(options: Options = {}): McpDcr {
  const config = resolveOptions(options)
  const { context, close } = createContext(config)
  const routes = createRoutes(context)
  hookResponses(express.response)
  hookRequests(express.request, mcpOf)
  hookBodies(express.request, postedOf)

  function mcpDcrMiddleware(req: Request, res: Response, next: NextFunction): void | Promise<void> {
    const { url } = req
    const path = pathOf(req, url)
    if (path.startsWith(ROUTES_PATH) && (path === ROUTES_PATH || path[ROUTES_PATH.length] === '/')) {
      const own = url.slice(ROUTES_PATH.length)
      req.url = own.startsWith('/') ? own : `/${own}`
      routes(req, res, next)
      return
    }
    const goesOn = serveRequest(context, req, res, url, path)
    if (goesOn === true) next()
    else
      return goesOn.then((it) => {
        if (it) next()
      })
  }

  function mcpDcrErrorHandler(error: unknown, req: Request, res: Response, next: NextFunction): void {
    if (!answerError(context, req, res, error)) next(error)
  }

  return Object.assign(mcpDcrMiddleware, {
    errorHandler: mcpDcrErrorHandler,
    fetch: (user: string, server: string) => fetchFor(context, user, server),
    connections: async (user: string) => connectionStates(context.oauth, user, declaredServers(context)),
    refresh: async (user: string, server: string) =>
      refreshConnection(context, serverNamed(context, server), user, config.baseUrl),
    warm: async () => warmServers(context, declaredServers(context), requiredBaseUrl(context)),
    registrations: context.registrations,
    disconnect: async (user: string, server: string) =>
      disconnect(context.oauth, serverNamed(context, server), user),
    forget: (server: string) => forgetServer(context.oauth, server, findServer(context, server)),
    reseal: context.reseal,
    close,
  })
}

/** As `req.path`, which parses: what most URLs have in front of their query. */
function pathOf(req: Request, url: string): string {
  if (!url.startsWith('/') || NOT_PLAIN.test(url)) return req.path
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

/** What ends a path, or is no part of a URL, for `url.parse`. */
const NOT_PLAIN = /[\s#]/

function fetchFor(context: GatewayContext, user: string, name: string): typeof fetch {
  const server = serverNamed(context, name)
  // First, where another one has the same URL; a longer path is still the other's.
  const servers = [server, ...declaredServers(context)]
  return createMcpFetch(context, {
    user,
    serverOf: (url) => (serverOfUrl(servers, url) === server ? server : undefined),
    undeclared: false,
    onUnauthorized: (_server, challenge) => {
      throw authorizationRequired(context, { server, user, challenge }, context.config.baseUrl)
    },
  })
}

function serverNamed(context: GatewayContext, name: string): Server {
  const server = declaredServers(context).find((candidate) => candidate.name === name)
  if (server !== undefined) return server
  throw new McpDcrError('unknown_server', `The servers option has no "${name}".`, {
    fix: 'Use a name that is declared there; inside a request, req.mcp.fetch serves all others.',
  })
}

function findServer({ config }: GatewayContext, name: string): Server | undefined {
  return config.servers?.find((server) => server.name === name)
}

function requiredBaseUrl({ config: { baseUrl } }: GatewayContext): string {
  if (baseUrl !== undefined) return baseUrl
  throw new McpDcrError(
    'invalid_options',
    'Without the baseUrl option, the redirect URI to register is not known before the first request.',
    { fix: 'Set baseUrl to the gateway’s own URL, such as http://localhost:3001.' },
  )
}

function declaredServers({ config }: GatewayContext): readonly Server[] {
  if (config.servers !== undefined) return config.servers
  throw new McpDcrError(
    'invalid_options',
    'The servers are a function of the request, and there is no request here.',
    {
      fix: 'Use req.mcp.fetch and GET /api/oauth/connections, or declare the servers as an object.',
    },
  )
}
