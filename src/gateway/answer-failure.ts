import type { Request } from 'express'
import { AuthorizationRequiredError, type McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { errorAnswer, toMcpDcrError } from './answer.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import { isNavigation } from './caller.js'
import { identifyUser } from './identify-user.js'
import type { Answer } from './intercept.js'
import { answerMcpClient, mcpVisitOf, wholeMcpVisitOf } from './mcp-visit.js'
import { requireAuthorization } from './require-authorization.js'
import { returnToOf, type Visit } from './visit.js'

/**
 * Every failure becomes an answer: nothing that a remote server sends may leave a request hanging.
 *
 * @param server whose sign-in a page offers to try again
 */
export async function answered(visit: Visit, work: () => Promise<Answer>, server?: Server): Promise<Answer> {
  try {
    return await work()
  } catch (thrown) {
    return failure(visit, thrown, server)
  }
}

/** The answer to a failure, as its caller understands it. */
export async function failure(visit: Visit, thrown: unknown, server?: Server): Promise<Answer> {
  const { context, req } = visit
  const error = toMcpDcrError(thrown, context.config.logger)
  const mcp = await wholeMcpVisitOf(visit)
  if (mcp !== undefined) return answerMcpClient(context, req, mcp, error)
  const retryUrl = server && authorizeUrl(baseUrlOf(context.config, req), server.name, returnToOf(visit))
  const answer = errorAnswer(req, error, retryUrl)
  return isOfMcpSession(req) ? notOffered(answer) : answer
}

/**
 * A handler's failed `req.mcp.fetch` becomes an answer once Express, or the handler itself, answers with an error:
 * 500 where a library, such as the MCP SDK, has wrapped our error in one of its own.
 */
export function failedFetchAnswer(visit: Visit, status: number): (() => Promise<Answer>) | undefined {
  const error = visit.failure
  if (error === undefined || (status !== 401 && status < 500)) return undefined
  return () => answered(visit, () => requirementAnswer(visit, error))
}

/** The answer to an error that a handler has got from us: where a sign-in is wanted, one that leads to it. */
export async function requirementAnswer(visit: Visit, error: McpDcrError): Promise<Answer> {
  const { context, req } = visit
  const requirement = error instanceof AuthorizationRequiredError && context.requirements.get(error)
  if (!requirement) throw error
  const wanted = { ...requirement, returnTo: returnToOf(visit), fresh: false }
  if (error === visit.failure) return requireAuthorization(context, req, { ...wanted, error })
  const user = await identifyUser(context.config, req)
  if (user === requirement.user) return requireAuthorization(context, req, wanted)
  // A handler may act for somebody else, whom a sign-in of whoever asks would not connect.
  const { name } = requirement.server
  throw new AuthorizationRequiredError(name, authorizeUrl(baseUrlOf(context.config, req), name))
}

/** Whether an MCP client asks, as far as that shows. */
export function isOfMcpClient(visit: Visit): boolean {
  return mcpVisitOf(visit) !== undefined || isOfMcpSession(visit.req)
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
  const problem = { ...(JSON.parse(answer.body ?? '{}') as object), status: 405 }
  return {
    ...answer,
    status: 405,
    headers: { ...answer.headers, allow: 'POST' },
    body: JSON.stringify(problem),
  }
}
