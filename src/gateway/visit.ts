import type { IncomingMessage } from 'node:http'
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
  /** At the middleware's own place in the app. */
  readonly url: string
  readonly path: string
  /** The declared server whose path it is. */
  server: Server | undefined
  /** The body that an MCP client has posted, until somebody asks what it says or the response has begun. */
  posted: Buffer | undefined
  /** What an MCP client asks; undefined where somebody else does, or where that is not known yet. */
  mcp: McpVisit | undefined
  /** Why a handler's `req.mcp.fetch` failed last: for want of a sign-in, or otherwise. */
  failure: McpDcrError | undefined
}

/** A request that has come by, at the middleware's own place in the app: a handler further down may change its URL. */
interface Arrival {
  readonly context: GatewayContext
  readonly url: string
  readonly path: string
}

/**
 * Of every request, and so nothing that refers to it: V8's young collections keep what a WeakMap holds for good.
 * Not a property of the request: adding one after Express has changed its prototype takes longer than all else here.
 */
const arrivals = new WeakMap<IncomingMessage, Arrival>()
/** Until the response begins. */
const visits = new WeakMap<IncomingMessage, Visit>()

export function noteArrival(context: GatewayContext, req: Request): void {
  arrivals.set(req, { context, url: req.url, path: req.path })
}

/**
 * The request that has come by a middleware, and by whose it came last: this one, or the one that it inherits from
 * where somebody has derived a request of their own.
 */
export function arrivedOf(req: Request): { context: GatewayContext; req: Request } | undefined {
  for (let it: Request | null = req; it !== null; it = Object.getPrototypeOf(it) as Request | null) {
    const arrival = arrivals.get(it)
    if (arrival !== undefined) return { context: arrival.context, req: it }
  }
  return undefined
}

/** The visit of a request. */
export function visitOf(context: GatewayContext, req: Request): Visit {
  const arrival = arrivals.get(req)
  const { url, path } = arrival?.context === context ? arrival : req
  const known = visits.get(req)
  // A handler may have rewritten the URL, and sent the request round once more.
  if (known?.context === context && known.url === url) return known
  const visit: Visit = {
    context,
    req,
    url,
    path,
    server: undefined,
    posted: undefined,
    mcp: undefined,
    failure: undefined,
  }
  visits.set(req, visit)
  return visit
}

/** The response has begun: nothing can be answered any more. */
export function endVisit(visit: Visit): void {
  visit.posted = undefined
  // Of two gateways in one app, the other one's may be in its place.
  if (visits.get(visit.req) === visit) visits.delete(visit.req)
}

/** Where the person is, as their browser sees it; undefined where it has no such path. */
export function returnToOf({ context, req, url }: Visit): string | undefined {
  return publicPath(baseUrlOf(context.config, req), url)
}

/** What was asked, for as long as nobody asks the same of another: a declared server, or a path of the gateway. */
export function placeOf({ server, path }: Visit): string {
  return server === undefined ? `path ${canonicalPath(path)}` : `server ${server.name}`
}
