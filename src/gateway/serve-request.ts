import type { Request, Response } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { errorAnswer, toMcpDcrError } from './answer.js'
import { liveConnection, replaceAuthorization } from './attach-token.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { noteAccepted, type GatewayContext } from './context.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer } from './intercept.js'
import { asksForMore, onTokenRejected } from './on-unauthorized.js'
import { parseChallenge } from './parse-challenge.js'
import { createRequestMcp, userRequired, type PendingRequirement } from './request-mcp.js'
import { meetUndeclared, requireAuthorization } from './require-authorization.js'
import { resolveServer } from './resolve-server.js'
import { publicPath } from './return-path.js'

/** A request on its way to the gateway's own handler. */
interface Visit {
  readonly context: GatewayContext
  readonly req: Request
  /** Where the person is, as their browser sees it. */
  readonly returnTo: string | undefined
  /** Set once a handler's `req.mcp.fetch` failed for want of a sign-in, or of a user. */
  requirement?: PendingRequirement | McpDcrError
}

/**
 * Prepares a request for the gateway's handler: resolve server → identify user → attach token (refreshed if
 * near expiry) → watch the response.
 *
 * @throws McpDcrError what must be answered in the handler's place
 */
export async function serveRequest(context: GatewayContext, req: Request, res: Response): Promise<void> {
  const visit: Visit = { context, req, returnTo: publicPath(baseUrlOf(context.config, req), req.url) }
  req.mcp = createRequestMcp(context, req, (requirement) => {
    visit.requirement = requirement
    watchHandler(visit, res)
  })
  const { config } = context
  const servers = config.servers ?? (await config.serversOf(req))
  const server = resolveServer(servers, req.path)
  if (server !== undefined) {
    await enterServer(visit, res, server)
  } else if (servers.length === 0) {
    watchUndeclared(visit, res)
  }
}

async function enterServer(visit: Visit, res: Response, server: Server): Promise<void> {
  const { context, req } = visit
  const user = await identifyUser(context.config, req)
  replaceAuthorization(req, undefined)
  const sent = user === undefined ? undefined : await liveConnection(context, server, user)
  if (sent !== undefined) replaceAuthorization(req, sent.accessToken)
  intercept(
    res,
    (status, values) => {
      const challenge = parseChallenge(values)
      if (status === 403 && (sent === undefined || !asksForMore(challenge, sent))) return undefined
      return () => answered(visit, server, () => onUnauthorized(visit, server, user, sent, status, challenge))
    },
    (status) => {
      if (sent !== undefined && status !== 401) noteAccepted(context, sent)
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
  const { context, req, requirement, returnTo } = visit
  if (requirement !== undefined) return answerRequirement(visit, requirement)
  if (user === undefined) throw userRequired(context.config.user === undefined)
  if (sent !== undefined && status === 401)
    return onTokenRejected(context, req, server, sent, challenge, returnTo)
  return requireAuthorization(context, req, { server, user, challenge, returnTo, fresh: false })
}

/** A route that is no declared server's, in a gateway that declares none: its challenge says what it leads to. */
function watchUndeclared(visit: Visit, res: Response): void {
  const { context, req, returnTo } = visit
  intercept(res, (status, values) => {
    if (status !== 401) return undefined
    if (visit.requirement !== undefined) return requirementAnswer(visit, visit.requirement)
    const challenge = parseChallenge(values)
    if (challenge?.resourceMetadata === undefined) return undefined
    return () =>
      answered(visit, undefined, async () => {
        const user = await identifyUser(context.config, req)
        if (user === undefined) throw userRequired(context.config.user === undefined)
        const server = await meetUndeclared(context, challenge)
        if ((await liveConnection(context, server, user)) !== undefined) throw tokenNotSent(server)
        return requireAuthorization(context, req, { server, user, challenge, returnTo, fresh: false })
      })
  })
}

/** A handler's failed `req.mcp.fetch` becomes an answer once Express, or the handler itself, answers 401. */
function watchHandler(visit: Visit, res: Response): void {
  intercept(res, (status) => {
    const { requirement } = visit
    return status === 401 && requirement !== undefined ? requirementAnswer(visit, requirement) : undefined
  })
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
  return requireAuthorization(context, req, { ...requirement, returnTo, fresh: false })
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
    const retryUrl = server && authorizeUrl(baseUrlOf(context.config, req), server.name, returnTo)
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
