import type { Request } from 'express'
import type { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { canonicalPath } from '../server-path.js'
import { baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import type { McpVisit } from './mcp-visit.js'
import { publicPath } from './return-path.js'

/** A request on its way to the gateway's own handler. */
export interface Visit {
  readonly context: GatewayContext
  readonly req: Request
  /** Where the person is, as their browser sees it; undefined where it has no such path. */
  readonly returnTo: () => string | undefined
  /** What was asked, for as long as nobody asks the same of another: a declared server, or a path of the gateway. */
  readonly place: () => string
  /** The declared server whose path it is. */
  server?: Server
  /** What an MCP client asks; undefined where somebody else does, or where that is not known yet. */
  mcp?: McpVisit
  /** Why a handler's `req.mcp.fetch` failed last: for want of a sign-in, or otherwise. */
  failure?: McpDcrError
}

const VISIT = Symbol('mcp-dcr.visit')
type Visited = Request & { [VISIT]?: Visit }

/** The visit of a request that has come by; of one that has not, a new one. */
export function visitOf(context: GatewayContext, req: Request): Visit {
  const visit = (req as Visited)[VISIT]
  return visit?.context === context ? visit : createVisit(context, req)
}

/** At the middleware's own place in the app: a handler further down sees, and may change, another URL. */
export function createVisit(context: GatewayContext, req: Request): Visit {
  const { url, path } = req
  const visit: Visit = {
    context,
    req,
    returnTo: () => publicPath(baseUrlOf(context.config, req), url),
    place: () => (visit.server === undefined ? `path ${canonicalPath(path)}` : `server ${visit.server.name}`),
  }
  const visited: Visited = req
  visited[VISIT] = visit
  return visit
}
