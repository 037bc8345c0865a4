import type { Request, Response } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { errorAnswer, toMcpDcrError } from './answer.js'
import { liveConnection, replaceAuthorization } from './attach-token.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { hideFlowCookies } from './flow-cookie.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer } from './intercept.js'
import { asksForMore, onTokenRejected } from './on-unauthorized.js'
import { parseChallenge } from './parse-challenge.js'
import { createRequestMcp, userRequired, type PendingRequirement } from './request-mcp.js'
import { requireAuthorization } from './require-authorization.js'
import { resolveServer } from './resolve-server.js'
import { publicPath } from './return-path.js'
import { meetUndeclared } from './undeclared.js'

/** A request on its way to the gateway's own handler. */
interface Visit {
  readonly context: GatewayContext
  readonly req: Request
  /** Where the person is, as their browser sees it; undefined where it has no such path. */
  readonly returnTo: () => string | undefined
  /** Set once a handler's `req.mcp.fetch` failed: for want of a sign-in, or with an error of ours. */
  requirement?: PendingRequirement | McpDcrError
}

/**
 * Prepares a request for the gateway's handler: resolve server → identify user → attach token (refreshed if
 * near expiry) → watch the response.
 *
 * @throws McpDcrError what must be answered in the handler's place
 */
export async function serveRequest(context: GatewayContext, req: Request, res: Response): Promise<void> {
  // As it is here: a handler further down sees, and may change, another. Worked out when it is needed.
  const { url } = req
  const visit: Visit = { context, req, returnTo: () => publicPath(baseUrlOf(context.config, req), url) }
  req.mcp = createRequestMcp(context, req, (requirement) => {
    visit.requirement = requirement
    watchHandler(visit, res)
  })
  const { config } = context
  const servers = config.servers ?? (await config.serversOf(req))
  const server = resolveServer(servers, req.path)
  if (server !== undefined) {
    await enterServer(visit, res, server)
  } else if (config.undeclared) {
    watchUndeclared(visit, res)
  }
}

async function enterServer(visit: Visit, res: Response, server: Server): Promise<void> {
  const { context, req } = visit
  const user = await identifyUser(context.config, req)
  replaceAuthorization(req, undefined)
  hideFlowCookies(req)
  const sent = user === undefined ? undefined : await liveConnection(context, server, user)
  if (sent !== undefined) replaceAuthorization(req, sent.accessToken)
  intercept(
    res,
    (status, values) => {
      if (isOfFailedFetch(visit, status)) return requirementAnswer(visit, visit.requirement)
      if (status !== 401 && status !== 403) return undefined
      const challenge = parseChallenge(values)
      if (status === 403 && (sent === undefined || !asksForMore(challenge, sent))) return undefined
      return () => answered(visit, server, () => onUnauthorized(visit, server, user, sent, status, challenge))
    },
    (status) => {
      if (sent !== undefined) noteAnswer(context, sent, status)
    },
  )
}

async function onUnauthorized(
  visit: Visit,
  server: Server,
  user: string | undefined,
  sent: Connection | undefined,
  status: 401 | 403,
  challenge: Challenge | undefined,
): Promise<Answer> {
  const { context, req, returnTo } = visit
  if (user === undefined) throw userRequired(context.config.user === undefined)
  if (sent !== undefined && status === 401)
    return onTokenRejected(context, req, server, sent, challenge, returnTo())
  return requireAuthorization(context, req, { server, user, challenge, returnTo: returnTo(), fresh: false })
}

/** A route that is no declared server's, in a gateway that declares none: its challenge says what it leads to. */
function watchUndeclared(visit: Visit, res: Response): void {
  const { context, req, returnTo } = visit
  intercept(res, (status, values) => {
    if (isOfFailedFetch(visit, status)) return requirementAnswer(visit, visit.requirement)
    if (status !== 401) return undefined
    const challenge = parseChallenge(values)
    if (challenge?.resourceMetadata === undefined) return undefined
    return () =>
      answered(visit, undefined, async () => {
        const user = await identifyUser(context.config, req)
        if (user === undefined) throw userRequired(context.config.user === undefined)
        const server = await meetUndeclared(context, user, challenge)
        if ((await liveConnection(context, server, user)) !== undefined) throw tokenNotSent(server)
        return requireAuthorization(context, req, {
          server,
          user,
          challenge,
          returnTo: returnTo(),
          fresh: false,
        })
      })
  })
}

/** A handler's failed `req.mcp.fetch` becomes an answer once Express, or the handler itself, answers with an error. */
function watchHandler(visit: Visit, res: Response): void {
  intercept(res, (status) =>
    isOfFailedFetch(visit, status) ? requirementAnswer(visit, visit.requirement) : undefined,
  )
}

/** Express answers 500 where a library, such as the MCP SDK, has wrapped our error in one of its own. */
function isOfFailedFetch(
  visit: Visit,
  status: number,
): visit is Visit & { requirement: PendingRequirement | McpDcrError } {
  return visit.requirement !== undefined && (status === 401 || status >= 500)
}

function requirementAnswer(
  visit: Visit,
  requirement: PendingRequirement | McpDcrError,
): () => Promise<Answer> {
  return () => answered(visit, undefined, () => answerRequirement(visit, requirement))
}

async function answerRequirement(
  { context, req, returnTo }: Visit,
  requirement: PendingRequirement | McpDcrError,
): Promise<Answer> {
  if (requirement instanceof McpDcrError) throw requirement
  return requireAuthorization(context, req, { ...requirement, returnTo: returnTo(), fresh: false })
}

/** Every failure becomes an answer: nothing that a remote server sends may leave a request hanging. */
async function answered(
  visit: Visit,
  server: Server | undefined,
  work: () => Promise<Answer>,
): Promise<Answer> {
  const { context, req, returnTo } = visit
  try {
    return await work()
  } catch (thrown) {
    const retryUrl = server && authorizeUrl(baseUrlOf(context.config, req), server.name, returnTo())
    return errorAnswer(req, toMcpDcrError(thrown, context.config.logger), retryUrl)
  }
}

function tokenNotSent(server: Server): McpDcrError {
  return new McpDcrError(
    'token_not_sent',
    `You are connected to ${server.name}, but this route does not send its token.`,
    {
      server: server.name,
      fix: 'Use req.mcp.fetch in the route’s handler, or declare the server in the servers option with the path of this route.',
    },
  )
}
