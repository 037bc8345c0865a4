import type { Request } from 'express'
import { AuthorizationRequiredError, McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { authorizeUrl, baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'
import type { Answer } from './intercept.js'
import { INPUT, mcpAnswer, type McpAsker } from './mcp-answer.js'
import { parseMcpMessage, readMcpMessage, type McpMessage } from './mcp-message.js'
import { readAhead, replaceBody } from './read-ahead.js'
import { isDeclined, restoredParams, type OpenedState } from './request-state.js'

/** Of a body that is read ahead, in bytes: of a longer one it is not known what it asks for. */
const MAX_BODY = 4 * 1024 * 1024

/** What an MCP client asks in one HTTP request. */
export interface McpVisit {
  readonly message: McpMessage
  /** The declared server that it asks, and for whom; undefined where that is for a handler to know. */
  readonly to: { readonly server: Server; readonly user: string } | undefined
  /** What its retry has brought back. */
  readonly state: OpenedState
}

/** What an MCP client has posted; undefined where the request is anything else. */
export async function readMcpRequest(req: Request): Promise<McpMessage | undefined> {
  if (req.method !== 'POST') return undefined
  const known = parsedMcpMessage(req)
  if (known !== undefined || !isOfMcpClient(req)) return known
  const body = await readAhead(req, MAX_BODY)
  return body === undefined ? undefined : parseMcpMessage(body.toString('utf8'))
}

/** The same, where somebody has parsed the body. */
export function parsedMcpMessage(req: Request): McpMessage | undefined {
  const body: unknown = req.body
  if (typeof body === 'string' || Buffer.isBuffer(body)) return parseMcpMessage(body.toString())
  return readMcpMessage(body)
}

/** What every client of MCP's Streamable HTTP transport has to send. */
function isOfMcpClient({ headers }: Request): boolean {
  return (
    headers['content-type']?.includes('application/json') === true &&
    headers.accept?.includes('text/event-stream') === true
  )
}

/**
 * Opens what a retry has brought back from an earlier answer of ours, and gives the MCP server's own back its place.
 *
 * @throws McpDcrError `invalid_request` where it is not good for this request, `access_denied` where the person has declined
 */
export async function openRequestState(
  { requestStates, config }: GatewayContext,
  req: Request,
  message: McpMessage,
  { server, user }: NonNullable<McpVisit['to']>,
): Promise<OpenedState> {
  const [request] = message.requests
  if (request === undefined || message.isBatch) return 'foreign'
  const state = await requestStates.open({ server: server.name, user, request })
  if (state === 'foreign') return state
  if (state === 'refused') {
    throw new McpDcrError('invalid_request', 'The requestState is not that of this request, or is too old.', {
      server: server.name,
      fix: 'Make the request again without it.',
    })
  }
  if (isDeclined(request, INPUT)) {
    throw new McpDcrError('access_denied', `Signing in to the MCP server "${server.name}" was declined.`, {
      server: server.name,
      fix: `To use it all the same, open ${authorizeUrl(baseUrlOf(config, req), server.name)} in a browser.`,
    })
  }
  const { id, method, params } = request
  const restored = { jsonrpc: '2.0', id, method, params: restoredParams(params, state) }
  if (parsedMcpMessage(req) === undefined) replaceBody(req, Buffer.from(JSON.stringify(restored)))
  else req.body = inTheFormOf(req.body, restored)
  return state
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
  { message, to, state }: McpVisit,
  error: McpDcrError,
): Promise<Answer> {
  // A handler that asks several servers has no use for what is brought back.
  const isOfServer = error instanceof AuthorizationRequiredError && error.server === to?.server.name
  const askers = message.requests.map((request): McpAsker => ({
    request,
    client: context.mcpSessions.clientOf(req, to?.server.name ?? '', request),
    requestState:
      to !== undefined && isOfServer
        ? () =>
            context.requestStates.seal(
              { server: to.server.name, user: to.user, request },
              typeof state === 'object' ? state : undefined,
            )
        : undefined,
  }))
  return mcpAnswer(message, askers, error)
}
