import type { Request, Response } from 'express'
import type { Challenge, Connection, Server } from '../model.js'
import { sendAnswer } from './answer.js'
import { answered, failedFetchAnswer, failure, isOfMcpClient } from './answer-failure.js'
import { connectionAtHand, liveConnection, replaceAuthorization } from './attach-token.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { isNavigation } from './caller.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { hideFlowCookies } from './flow-cookie.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer } from './intercept.js'
import {
  isOfMcpClient as isOfMcpClientRequest,
  mcpVisitOf,
  noteMcpRequest,
  noteSession,
  wholeMcpVisitOf,
} from './mcp-visit.js'
import { onTokenRejected } from './on-unauthorized.js'
import { operationOf } from './operation.js'
import { enterRoute, watchRoute } from './own-route.js'
import { parseChallenge } from './parse-challenge.js'
import { createRequestMcp, isHooked, userRequired, type RequestMcp } from './request-mcp.js'
import { requireAuthorization } from './require-authorization.js'
import { resolveServer } from './resolve-server.js'
import { asksForScope, beginStepUp, insufficientScope, mayStepUp, noteOutcome } from './step-up.js'
import { refuseMetadata } from './upstream-metadata.js'
import { arrivedOf, beginVisit, endVisit, noteArrival, returnToOf, visitOf, type Visit } from './visit.js'

/**
 * Prepares a request for the gateway's handler: resolve server → identify user → attach token (refreshed if
 * near expiry) → watch the response. What fails is answered.
 *
 * @returns whether the handler is to go on; at once where nothing has to be waited for, as on the gateway's other routes
 */
export function serveRequest(
  context: GatewayContext,
  req: Request,
  res: Response,
  url: string,
  path: string,
): true | Promise<boolean> {
  if (!isHooked(req)) req.mcp = createMcp(context, req)
  const { servers, undeclared } = context.config
  const server = servers && resolveServer(servers, path)
  if (servers !== undefined && server === undefined && !undeclared && !isOfMcpClientRequest(req)) {
    noteArrival(context, req, url, path)
    return true
  }
  const visit = beginVisit(context, req, url, path)
  const fail = async (thrown: unknown): Promise<false> => {
    sendAnswer(req, res, await failure(visit, thrown))
    return false
  }
  try {
    const entering = servers === undefined ? enterOneOf(visit, res) : enter(visit, res, server)
    return entering === undefined ? true : entering.then(() => true, fail)
  } catch (thrown) {
    return fail(thrown)
  }
}

/** `req.mcp` of a request that has come by the middleware. */
export function mcpOf(asked: Request): RequestMcp | undefined {
  const arrived = arrivedOf(asked)
  return arrived && createMcp(arrived.context, arrived.req)
}

function createMcp(context: GatewayContext, req: Request): RequestMcp {
  return createRequestMcp(context, req, (error) => {
    const visit = visitOf(context, req)
    visit.failure = error
    if (req.res !== undefined) watchRoute(visit, req.res)
  })
}

async function enterOneOf(visit: Visit, res: Response): Promise<void> {
  const { context, req, path } = visit
  await enter(visit, res, resolveServer(await context.config.serversOf(req), path))
}

function enter(visit: Visit, res: Response, server: Server | undefined): undefined | Promise<void> {
  if (server === undefined) return enterRoute(visit, res)
  visit.server = server
  refuseMetadata(visit.path)
  const user = identifyUser(visit.context.config, visit.req)
  if (user === undefined || typeof user === 'string') return enterServer(visit, res, server, user)
  return user.then((it) => enterServer(visit, res, server, it))
}

function enterServer(
  visit: Visit,
  res: Response,
  server: Server,
  user: string | undefined,
): undefined | Promise<void> {
  if (visit.headers.cookie !== undefined) hideFlowCookies(visit.req)
  const noting = noteMcpRequest(visit, res, () => user)
  if (noting !== undefined) return noting.then(() => attachToken(visit, res, server, user))
  return attachToken(visit, res, server, user)
}

function attachToken(
  visit: Visit,
  res: Response,
  server: Server,
  user: string | undefined,
): undefined | Promise<void> {
  const { context } = visit
  const atHand = user === undefined ? undefined : connectionAtHand(context, server, user)
  if (user !== undefined && atHand === undefined)
    return liveConnection(context, server, user).then((sent) => watch(visit, res, server, user, sent))
  watch(visit, res, server, user, atHand)
  return undefined
}

/** Sends the connection's token along, and watches what comes of it. */
function watch(
  visit: Visit,
  res: Response,
  server: Server,
  user: string | undefined,
  sent: Connection | undefined,
): void {
  const { context, req } = visit
  replaceAuthorization(req, sent?.accessToken)
  // A person will be sent to sign in, once the server has asked for it.
  if (sent === undefined && user !== undefined && isNavigation(req)) context.oauth.discover.expect(server)
  const operation = (): string => operationOf(req, mcpVisitOf(visit)?.message)
  intercept(
    res,
    (status, values) => {
      const failed = failedFetchAnswer(visit, status)
      if (failed !== undefined) return failed
      if (status !== 401 && status !== 403) return undefined
      const challenge = parseChallenge(values)
      if (status === 403) {
        if (sent === undefined || !asksForScope(challenge)) return undefined
        noteAnswer(context, sent, status)
        // An MCP client would take the upstream's challenge for its own affair.
        if (!mayStepUp(context, sent, challenge, operation()) && !isOfMcpClient(visit)) return undefined
        return () => answered(visit, () => onInsufficientScope(visit, server, sent, challenge), server)
      }
      return () => answered(visit, () => onUnauthorized(visit, server, user, sent, challenge), server)
    },
    (status, header) => {
      if (sent !== undefined) {
        noteAnswer(context, sent, status)
        noteOutcome(context, sent, status, operation)
      }
      noteSession(visit, header)
      endVisit(visit)
    },
  )
}

async function onInsufficientScope(
  visit: Visit,
  server: Server,
  sent: Connection,
  challenge: Challenge,
): Promise<Answer> {
  const { context, req } = visit
  const operation = operationOf(req, (await wholeMcpVisitOf(visit))?.message)
  if (!(await beginStepUp(context, sent, challenge, operation)))
    throw insufficientScope(server, challenge, authorizeUrl(baseUrlOf(context.config, req), server.name))
  const { user } = sent
  const returnTo = returnToOf(visit)
  return requireAuthorization(context, req, { server, user, challenge, returnTo, fresh: false })
}

async function onUnauthorized(
  visit: Visit,
  server: Server,
  user: string | undefined,
  sent: Connection | undefined,
  challenge: Challenge | undefined,
): Promise<Answer> {
  const { context, req } = visit
  if (user === undefined) throw userRequired(context.config.user === undefined)
  const returnTo = returnToOf(visit)
  if (sent !== undefined) return onTokenRejected(context, req, server, sent, challenge, returnTo)
  return requireAuthorization(context, req, { server, user, challenge, returnTo, fresh: false })
}
