import type { Request, Response } from 'express'
import type { Challenge, Connection, Server } from '../model.js'
import { sendAnswer } from './answer.js'
import { answered, failedFetchAnswer, failure, isOfMcpClient } from './answer-failure.js'
import { liveConnection, replaceAuthorization } from './attach-token.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { hideFlowCookies } from './flow-cookie.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer } from './intercept.js'
import { mcpVisitOf, noteMcpRequest, noteSession } from './mcp-visit.js'
import { onTokenRejected } from './on-unauthorized.js'
import { operationOf } from './operation.js'
import { enterRoute, watchRoute } from './own-route.js'
import { parseChallenge } from './parse-challenge.js'
import { createRequestMcp, userRequired } from './request-mcp.js'
import { requireAuthorization } from './require-authorization.js'
import { resolveServer } from './resolve-server.js'
import { asksForScope, beginStepUp, insufficientScope, mayStepUp, noteOutcome } from './step-up.js'
import { refuseMetadata } from './upstream-metadata.js'
import { createVisit, type Visit } from './visit.js'

/**
 * Prepares a request for the gateway's handler: resolve server → identify user → attach token (refreshed if
 * near expiry) → watch the response. What fails is answered.
 *
 * @returns whether the handler is to go on
 */
export async function serveRequest(context: GatewayContext, req: Request, res: Response): Promise<boolean> {
  const visit = createVisit(context, req)
  req.mcp = createRequestMcp(context, req, (error) => {
    visit.failure = error
    watchRoute(visit, res)
  })
  try {
    const { config } = context
    const servers = config.servers ?? (await config.serversOf(req))
    const server = resolveServer(servers, req.path)
    if (server === undefined) await enterRoute(visit, res)
    else await enterServer(visit, res, server)
    return true
  } catch (thrown) {
    sendAnswer(req, res, await failure(visit, thrown))
    return false
  }
}

async function enterServer(visit: Visit, res: Response, server: Server): Promise<void> {
  const { context, req } = visit
  visit.server = server
  refuseMetadata(req.path)
  const user = await identifyUser(context.config, req)
  replaceAuthorization(req, undefined)
  hideFlowCookies(req)
  await noteMcpRequest(visit, res, () => user)
  const sent = user === undefined ? undefined : await liveConnection(context, server, user)
  if (sent !== undefined) replaceAuthorization(req, sent.accessToken)
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
        return () =>
          answered(visit, () => onInsufficientScope(visit, server, sent, challenge, operation()), server)
      }
      return () => answered(visit, () => onUnauthorized(visit, server, user, sent, challenge), server)
    },
    (status, header) => {
      if (sent !== undefined) {
        noteAnswer(context, sent, status)
        noteOutcome(context, sent, status, operation)
      }
      noteSession(visit, header)
    },
  )
}

async function onInsufficientScope(
  { context, req, returnTo }: Visit,
  server: Server,
  sent: Connection,
  challenge: Challenge,
  operation: string,
): Promise<Answer> {
  if (!(await beginStepUp(context, sent, challenge, operation)))
    throw insufficientScope(server, challenge, authorizeUrl(baseUrlOf(context.config, req), server.name))
  const { user } = sent
  return requireAuthorization(context, req, { server, user, challenge, returnTo: returnTo(), fresh: false })
}

async function onUnauthorized(
  { context, req, returnTo }: Visit,
  server: Server,
  user: string | undefined,
  sent: Connection | undefined,
  challenge: Challenge | undefined,
): Promise<Answer> {
  if (user === undefined) throw userRequired(context.config.user === undefined)
  if (sent !== undefined) return onTokenRejected(context, req, server, sent, challenge, returnTo())
  return requireAuthorization(context, req, { server, user, challenge, returnTo: returnTo(), fresh: false })
}
