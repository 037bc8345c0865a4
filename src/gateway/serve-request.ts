import type { Request, Response } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { connectionKey } from '../store/records.js'
import { errorAnswer, sendAnswer, toMcpDcrError } from './answer.js'
import { liveConnection, replaceAuthorization } from './attach-token.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { isNavigation } from './caller.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { hideFlowCookies } from './flow-cookie.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer } from './intercept.js'
import type { McpMessage } from './mcp-message.js'
import {
  answerMcpClient,
  openRequestState,
  parsedMcpMessage,
  readMcpRequest,
  type McpVisit,
} from './mcp-visit.js'
import { onTokenRejected } from './on-unauthorized.js'
import { operationOf } from './operation.js'
import { parseChallenge } from './parse-challenge.js'
import { createRequestMcp, userRequired, type PendingRequirement } from './request-mcp.js'
import { requireAuthorization } from './require-authorization.js'
import { resolveServer } from './resolve-server.js'
import { publicPath } from './return-path.js'
import { noteOutcome, stepsUp } from './step-up.js'
import { meetUndeclared } from './undeclared.js'
import { refuseMetadata } from './upstream-metadata.js'

/** A request on its way to the gateway's own handler. */
interface Visit {
  readonly context: GatewayContext
  readonly req: Request
  /** Where the person is, as their browser sees it; undefined where it has no such path. */
  readonly returnTo: () => string | undefined
  /** What an MCP client asks; undefined where somebody else does, or where that is not known yet. */
  mcp?: McpVisit
  /** Set once a handler's `req.mcp.fetch` failed: for want of a sign-in, or with an error of ours. */
  requirement?: PendingRequirement | McpDcrError
}

/**
 * Prepares a request for the gateway's handler: resolve server → identify user → attach token (refreshed if
 * near expiry) → watch the response. What fails is answered.
 *
 * @returns whether the handler is to go on
 */
export async function serveRequest(context: GatewayContext, req: Request, res: Response): Promise<boolean> {
  // As it is here: a handler further down sees, and may change, another. Worked out when it is needed.
  const { url } = req
  const visit: Visit = { context, req, returnTo: () => publicPath(baseUrlOf(context.config, req), url) }
  req.mcp = createRequestMcp(context, req, (requirement) => {
    visit.requirement = requirement
    watchHandler(visit, res)
  })
  try {
    const { config } = context
    const servers = config.servers ?? (await config.serversOf(req))
    const server = resolveServer(servers, req.path)
    if (server !== undefined) await enterServer(visit, res, server)
    else if (config.undeclared) {
      await noteMcpRequest(visit, undefined)
      watchUndeclared(visit, res)
    }
    return true
  } catch (thrown) {
    sendAnswer(req, res, await failure(visit, thrown))
    return false
  }
}

async function enterServer(visit: Visit, res: Response, server: Server): Promise<void> {
  const { context, req } = visit
  refuseMetadata(req.path)
  const user = await identifyUser(context.config, req)
  replaceAuthorization(req, undefined)
  hideFlowCookies(req)
  const message = await noteMcpRequest(visit, user === undefined ? undefined : { server, user })
  const sent = user === undefined ? undefined : await connectionOf(visit, res, server, user)
  if (sent !== undefined) replaceAuthorization(req, sent.accessToken)
  const operation = (): string => operationOf(req, message ?? parsedMcpMessage(req))
  const initialize = message?.requests.find(({ method }) => method === 'initialize')
  intercept(
    res,
    (status, values) => {
      if (isOfFailedFetch(visit, status)) return requirementAnswer(visit, visit.requirement)
      if (status !== 401 && status !== 403) return undefined
      const challenge = parseChallenge(values)
      if (status === 403 && (sent === undefined || !stepsUp(context, server, sent, challenge, operation())))
        return undefined
      return () => answered(visit, server, () => onUnauthorized(visit, server, user, sent, status, challenge))
    },
    (status, header) => {
      if (sent !== undefined) {
        noteAnswer(context, sent, status)
        noteOutcome(context, server, sent.user, status, operation)
      }
      const sessionId = initialize === undefined ? undefined : header('mcp-session-id')
      if (initialize !== undefined && sessionId !== undefined)
        context.mcpSessions.open(server.name, sessionId, initialize)
    },
  )
}

/** The user's live connection; a client that was asked to sign in, and asks again, is held until that is done. */
async function connectionOf(
  { context, mcp }: Visit,
  res: Response,
  server: Server,
  user: string,
): Promise<Connection | undefined> {
  const { config, signIns, signInWaits } = context
  const connection = await liveConnection(context, server, user)
  if (typeof mcp?.state !== 'object') return connection
  const key = connectionKey(user, server.name)
  const signedInAt = Math.max(connection?.connectedAt ?? 0, signIns.get(key) ?? 0)
  if (signedInAt >= mcp.state.askedAt) return connection
  await signInWaits.wait(key, config.elicitationWait, res)
  return liveConnection(context, server, user)
}

/** Learns what an MCP client asks, before its body goes on to a handler. */
async function noteMcpRequest(visit: Visit, to: McpVisit['to']): Promise<McpMessage | undefined> {
  const { context, req } = visit
  const message = await readMcpRequest(req)
  if (message === undefined) return undefined
  visit.mcp = { message, to, state: 'foreign' }
  if (to !== undefined) visit.mcp = { message, to, state: await openRequestState(context, req, message, to) }
  return message
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
  try {
    return await work()
  } catch (thrown) {
    return failure(visit, thrown, server)
  }
}

/** @param server whose sign-in a page offers to try again */
function failure(visit: Visit, thrown: unknown, server?: Server): Answer | Promise<Answer> {
  const { context, req, returnTo } = visit
  const error = toMcpDcrError(thrown, context.config.logger)
  const parsed = visit.mcp === undefined && req.method === 'POST' ? parsedMcpMessage(req) : undefined
  const mcp = visit.mcp ?? (parsed && { message: parsed, to: undefined, state: 'foreign' })
  if (mcp !== undefined) return answerMcpClient(context, req, mcp, error)
  const retryUrl = server && authorizeUrl(baseUrlOf(context.config, req), server.name, returnTo())
  const answer = errorAnswer(req, error, retryUrl)
  return isOfMcpSession(req) ? notOffered(answer) : answer
}

/** An MCP client that opens a stream for messages, or ends its session. */
function isOfMcpSession(req: Request): boolean {
  const { method, headers } = req
  if (method === 'DELETE') return headers['mcp-session-id'] !== undefined
  if (method !== 'GET' || isNavigation(req)) return false
  return (
    headers['mcp-session-id'] !== undefined ||
    headers['mcp-protocol-version'] !== undefined ||
    headers.accept?.includes('text/event-stream') === true
  )
}

/** After a 401 it would begin an authorization of its own; a 405 says that there is no such thing here (MCP, Streamable HTTP). */
function notOffered(answer: Answer): Answer {
  return { ...answer, status: 405, headers: { ...answer.headers, allow: 'POST' } }
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
