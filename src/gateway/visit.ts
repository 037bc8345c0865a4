import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Request } from 'express'
import type { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { canonicalPath } from '../server-path.js'
import { baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import type { McpVisit } from './mcp-visit.js'
import type { PostedBody } from './posted-body.js'
import { publicPath } from './return-path.js'

/** A request that has come by, at the middleware's own place in the app: a handler further down may change its URL. */
interface Arrival {
  readonly context: GatewayContext
  readonly url: string
  readonly path: string
}

/** A request on its way to the gateway's own handler. */
export interface Visit extends Arrival {
  readonly req: Request
  /** Those of `req`: V8 has to look up anew each property of what Express has changed the prototype of. */
  readonly method: string
  readonly headers: IncomingHttpHeaders
  /** The declared server whose path it is. */
  server: Server | undefined
  /** The body that an MCP client posts, until somebody asks what it says or the response has begun. */
  posted: PostedBody | undefined
  /** What an MCP client asks; undefined where somebody else does, or where that is not known yet. */
  mcp: McpVisit | undefined
  /** Why a handler's `req.mcp.fetch` failed last: for want of a sign-in, or otherwise. */
  failure: McpDcrError | undefined
}

/**
 * A visit until the response begins, and then what refers to no request: a young collection of V8's keeps what a
 * WeakMap holds, and would keep each request with it. Not a property of the request: adding one after Express has
 * changed its prototype takes longer.
 */
const arrivals = new WeakMap<IncomingMessage, Arrival | Visit>()

/** A request that none of our steps is for. */
export function noteArrival(context: GatewayContext, req: Request, url: string, path: string): void {
  arrivals.set(req, { context, url, path })
}

/** A request that our steps are for. A handler may have rewritten the URL, and sent it round once more. */
export function beginVisit(context: GatewayContext, req: Request, url: string, path: string): Visit {
  const before = arrivals.get(req)
  return isVisit(before) && before.context === context && before.url === url && before.method === req.method
    ? before
    : createVisit({ context, url, path }, req, before)
}

function isVisit(arrival: Arrival | Visit | undefined): arrival is Visit {
  return arrival !== undefined && 'req' in arrival
}

/** Where the body of a request is kept as it comes. */
export function postedOf(req: IncomingMessage): PostedBody | undefined {
  const arrival = arrivals.get(req)
  return isVisit(arrival) ? arrival.posted : undefined
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

/** The visit of a request, which may have begun just now. */
export function visitOf(context: GatewayContext, req: Request): Visit {
  const before = arrivals.get(req)
  if (before?.context !== context) return createVisit({ context, url: req.url, path: req.path }, req, before)
  return isVisit(before) ? before : createVisit(before, req, before)
}

function createVisit(
  { context, url, path }: Arrival,
  req: Request,
  before: Arrival | Visit | undefined,
): Visit {
  const visit: Visit = {
    context,
    url,
    path,
    req,
    method: req.method,
    headers: req.headers,
    server: undefined,
    posted: isVisit(before) ? before.posted : undefined,
    mcp: undefined,
    failure: undefined,
  }
  arrivals.set(req, visit)
  return visit
}

/** The response has begun: nothing can be answered any more. */
export function endVisit(visit: Visit): void {
  const { context, url, path, req } = visit
  visit.posted = undefined
  // Of two gateways in one app, the other one's may be in its place.
  if (arrivals.get(req) === visit) arrivals.set(req, { context, url, path })
}

/** Where the person is, as their browser sees it; undefined where it has no such path. */
export function returnToOf({ context, req, url }: Visit): string | undefined {
  return publicPath(baseUrlOf(context.config, req), url)
}

/** What was asked, for as long as nobody asks the same of another: a declared server, or a path of the gateway. */
export function placeOf({ server, path }: Visit): string {
  return server === undefined ? `path ${canonicalPath(path)}` : `server ${server.name}`
}
