import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Request } from 'express'
import { AuthorizationRequiredError, McpDcrError } from '../errors.js'
import { connectionKey } from '../store/records.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import type { Answer } from './intercept.js'
import { isModernRequest } from './mcp-client.js'
import { INPUT, mcpAnswer, type McpAsker } from './mcp-answer.js'
import {
  parseMcpMessage,
  readMcpMessage,
  UNREADABLE,
  type McpMessage,
  type McpRequest,
} from './mcp-message.js'
import { isHookedBody, PostedBody } from './posted-body.js'
import { readAhead, replaceBody } from './read-ahead.js'
import {
  bringsState,
  isDeclined,
  mayBringState,
  restoredParams,
  type OpenedState,
  type RequestState,
} from './request-state.js'
import { placeOf, type Visit } from './visit.js'

/** Of a body that is read ahead, in bytes: of a longer one it is not known what it asks for. */
const MAX_BODY = 4 * 1024 * 1024
/** Of a body that is kept as it comes, in bytes. */
const MAX_KEPT = 16 * 1024

/** What an MCP client asks in one HTTP request. */
export interface McpVisit {
  readonly message: McpMessage
  /** See {@link Visit}: sessions and retries belong to it. */
  readonly place: string
  /** What its retry has brought back; `unread` where that is not looked for before the handler. */
  readonly state: OpenedState | 'unread'
}

type UserOf = () => string | undefined | Promise<string | undefined>

/**
 * Learns what an MCP client asks, and what its retry has brought back, before its body goes on to a handler.
 *
 * @returns undefined where nothing has to be waited for
 */
export function noteMcpRequest(visit: Visit, res: ServerResponse, userOf: UserOf): undefined | Promise<void> {
  if (visit.method !== 'POST') return undefined
  const message = parsedMcpMessage(visit.req)
  if (message !== undefined) return noteMessage(visit, res, message, userOf)
  if (!isOfMcpClient(visit)) return undefined
  visit.posted ??= keptBody(visit)
  // Of most requests nobody will ask what they say: only what a retry brings back is needed before the handler.
  if (visit.posted !== undefined && !isModernRequest(visit)) return undefined
  return readMcpRequest(visit, res, userOf)
}

/** The body of a request of which nothing has come yet, where all of it can be kept; undefined of any other. */
function keptBody({ req, headers }: Visit): PostedBody | undefined {
  const length = Number(headers['content-length'])
  const canBeKept = length > 0 && length <= MAX_KEPT && !isCompressed(headers) && isHookedBody(req)
  if (!canBeKept || req.readableFlowing !== null || req.readableLength !== 0) return undefined
  // So much comes without anybody's reading it.
  return length <= req.readableHighWaterMark ? new PostedBody(length) : undefined
}

async function readMcpRequest(visit: Visit, res: ServerResponse, userOf: UserOf): Promise<void> {
  const { req, posted } = visit
  await posted?.settled(req)
  const body = posted === undefined ? await readUnkept(visit) : posted.whole()
  if (body !== undefined && !mayBringState(body)) {
    visit.posted ??= PostedBody.of(body)
    return
  }
  visit.posted = undefined
  const message = body === undefined ? unreadMessage(req) : parseMcpMessage(body.toString('utf8'))
  if (message !== undefined) await noteMessage(visit, res, message, userOf)
}

async function readUnkept({ req, headers }: Visit): Promise<Buffer | undefined> {
  return isCompressed(headers) ? undefined : readAhead(req, MAX_BODY)
}

function noteMessage(
  visit: Visit,
  res: ServerResponse,
  message: McpMessage,
  userOf: UserOf,
): undefined | Promise<void> {
  const mcp = { message, place: placeOf(visit) }
  const [request] = message.requests
  const isRetry = request !== undefined && !message.isBatch && bringsState(request) && isModernRequest(visit)
  visit.mcp = { ...mcp, state: isRetry || message === UNREADABLE ? 'unread' : 'foreign' }
  if (!isRetry) return undefined
  return openRequestState(visit, res, mcp.place, request, userOf).then((state) => {
    visit.mcp = { ...mcp, state }
  })
}

/** Of a body that could not be read ahead: undefined where somebody has parsed it, and it is no MCP client's. */
function unreadMessage(req: Request): McpMessage | undefined {
  return req.readableEnded && req.body !== undefined ? undefined : UNREADABLE
}

/** Unpacked here, a small body might be a huge one: it is left to whoever parses it, under a limit of theirs. */
function isCompressed({ 'content-encoding': encoding = 'identity' }: IncomingHttpHeaders): boolean {
  return encoding.toLowerCase() !== 'identity'
}

/** The same, where somebody has parsed the body. */
function parsedMcpMessage(req: Request): McpMessage | undefined {
  const body: unknown = req.body
  if (body === undefined) return undefined
  if (typeof body === 'string' || Buffer.isBuffer(body)) return parseMcpMessage(body.toString())
  return readMcpMessage(body)
}

/** What is known by now: what was too long to be read ahead, or came without a client's headers, a handler may have parsed. */
export function mcpVisitOf(visit: Visit): McpVisit | undefined {
  readPosted(visit)
  const { req, posted } = visit
  const mcp = visit.mcp ?? (posted && { message: UNREADABLE, place: placeOf(visit), state: 'unread' })
  if (visit.method !== 'POST' || (mcp !== undefined && mcp.message !== UNREADABLE)) return mcp
  const message = parsedMcpMessage(req)
  return message === undefined ? mcp : { message, place: placeOf(visit), state: 'unread' }
}

/** As {@link mcpVisitOf}, once all of its body has come that will come. */
export async function wholeMcpVisitOf(visit: Visit): Promise<McpVisit | undefined> {
  await visit.posted?.settled(visit.req)
  return mcpVisitOf(visit)
}

function readPosted(visit: Visit): void {
  const body = visit.posted?.whole()
  if (body === undefined) return
  visit.posted = undefined
  const message = parseMcpMessage(body.toString('utf8'))
  if (message !== undefined) visit.mcp = { message, place: placeOf(visit), state: 'foreign' }
}

/** What every client of MCP's Streamable HTTP transport has to send. */
export function isOfMcpClient({ method, headers }: Pick<Request, 'method' | 'headers'>): boolean {
  return (
    method === 'POST' &&
    headers['content-type']?.includes('application/json') === true &&
    headers.accept?.includes('text/event-stream') === true
  )
}

/** Notes the client of a session that this response opens. */
export function noteSession(visit: Visit, header: (name: string) => string | undefined): void {
  const { method, headers } = visit
  if (method !== 'POST') return
  const sessionId = header('mcp-session-id')
  // Some servers name it in each response.
  if (sessionId === undefined || sessionId === headers['mcp-session-id']) return
  readPosted(visit)
  const { context, mcp } = visit
  const initialize = mcp?.message.requests.find(({ method }) => method === 'initialize')
  if (mcp !== undefined && initialize !== undefined)
    context.mcpSessions.open(mcp.place, sessionId, initialize)
}

/**
 * Opens what a retry has brought back from an earlier answer of ours, holds it until its person has signed in, and
 * gives the MCP server's own back its place.
 *
 * @throws McpDcrError `invalid_request` where it is not good for this request, `access_denied` where the person has declined
 */
async function openRequestState(
  { context, req }: Visit,
  res: ServerResponse,
  place: string,
  request: McpRequest,
  userOf: UserOf,
): Promise<OpenedState> {
  const user = await userOf()
  if (user === undefined) return 'foreign'
  const state = await context.requestStates.open({ place, user, request })
  if (state === undefined) {
    throw new McpDcrError('invalid_request', 'The requestState is not that of this request, or is too old.', {
      fix: 'Make the request again without it.',
    })
  }
  await awaitSignIn(context, req, res, user, request, state)
  const { id, method, params } = request
  const restored = { jsonrpc: '2.0', id, method, params: restoredParams(params, state) }
  if (parsedMcpMessage(req) === undefined) await replaceBody(req, Buffer.from(JSON.stringify(restored)))
  else req.body = inTheFormOf(req.body, restored)
  return state
}

/** A client that was asked to sign in, and asks again, is held until that is done, unless it will not be. */
async function awaitSignIn(
  { config, oauth, signIns, signInWaits }: GatewayContext,
  req: Request,
  res: ServerResponse,
  user: string,
  request: McpRequest,
  { server, askedAt }: RequestState,
): Promise<void> {
  const key = connectionKey(user, server)
  const held = await oauth.records.connections.recall(key, ({ connectedAt }) => connectedAt >= askedAt)
  if (Math.max(held?.value.connectedAt ?? 0, signIns.get(key) ?? 0) >= askedAt) return
  const declined =
    isDeclined(request, INPUT) || (await signInWaits.wait(key, config.elicitationWait, res)) === 'declined'
  if (!declined) return
  throw new McpDcrError('access_denied', `Signing in to the MCP server "${server}" was declined.`, {
    server,
    fix: `To use it all the same, open ${authorizeUrl(baseUrlOf(config, req), server)} in a browser.`,
  })
}

/** As whoever has parsed the body leaves it: an object, text or bytes. */
function inTheFormOf(body: unknown, value: object): unknown {
  if (typeof body === 'string') return JSON.stringify(value)
  return Buffer.isBuffer(body) ? Buffer.from(JSON.stringify(value)) : value
}

/** An error of ours, as this client understands it. */
export function answerMcpClient(
  context: GatewayContext,
  req: Request,
  { message, place, state }: McpVisit,
  error: McpDcrError,
): Promise<Answer> {
  const { mcpSessions, requestStates, requirements } = context
  const requirement =
    state !== 'unread' && error instanceof AuthorizationRequiredError ? requirements.get(error) : undefined
  const before = typeof state === 'object' ? state : undefined
  const askers = message.requests.map((request): McpAsker => ({
    request,
    client: mcpSessions.clientOf(req, place, request),
    requestState:
      requirement &&
      (() => requestStates.seal({ place, user: requirement.user, request }, requirement.server.name, before)),
  }))
  return mcpAnswer(message, askers, error)
}
