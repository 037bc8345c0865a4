import { AuthorizationRequiredError, signInMessage, type McpDcrError } from '../errors.js'
import { jsonAnswer } from './answer.js'
import type { Answer } from './intercept.js'
import type { McpClient } from './mcp-client.js'
import type { McpMessage, McpRequest } from './mcp-message.js'

/** MCP 2025-11-25, URL elicitation: the request cannot be served before these URLs have been visited. */
const URL_ELICITATION_REQUIRED = -32042
/** An error of the gateway; the range is a server's own (JSON-RPC 2.0 §5.1). */
const GATEWAY_ERROR = -32010

/** JSON-RPC 2.0 §5.1. */
const INVALID_PARAMS = -32602
/** Where a tool's result says in words for programs what went wrong. */
const ERROR_META = 'mcp-dcr/error'

/** The name of the one input that a request waits for. */
export const INPUT = 'mcp-dcr'

/** The methods whose result may ask for input (MCP 2026-07-28, multi round-trip requests). */
const MAY_ASK_FOR_INPUT: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** How one request of a client can be answered. */
export interface McpAsker {
  readonly request: McpRequest
  readonly client: McpClient
  /** Seals what its retry has to bring back; undefined where it may not be asked for input again. */
  readonly requestState: (() => Promise<string | undefined>) | undefined
}

/**
 * An error in the form that an MCP client understands, with HTTP 200: what comes with another status, the
 * client's library makes a failed connection of, or begins an authorization of its own.
 */
export async function mcpAnswer(
  message: McpMessage,
  askers: readonly McpAsker[],
  error: McpDcrError,
): Promise<Answer> {
  const responses = await Promise.all(askers.map((asker) => responseTo(asker, message, error)))
  // A notification is never answered; that it was not accepted shows by the status (MCP, Streamable HTTP).
  if (responses.length === 0) return jsonAnswer({ jsonrpc: '2.0', error: errorObject(error) }, 403)
  return jsonAnswer(message.isBatch ? responses : responses[0])
}

async function responseTo(
  { request, client, requestState }: McpAsker,
  { isBatch }: McpMessage,
  error: McpDcrError,
): Promise<object> {
  const answer = (content: object): object => ({ jsonrpc: '2.0', id: request.id, ...content })
  if (client.opensUrls && error instanceof AuthorizationRequiredError && !isBatch) {
    const content = client.isModern
      ? await inputRequired(request, error, requestState)
      : elicitationRequired(error)
    if (content !== undefined) return answer(content)
  }
  if (request.method !== 'tools/call') return answer({ error: errorObject(error) })
  // A model reads it and tells the person; an error would reach the program alone.
  const result = {
    content: [{ type: 'text', text: textOf(error) }],
    isError: true,
    _meta: { [ERROR_META]: detailsOf(error) },
  }
  return answer({ result: client.isModern ? { resultType: 'complete', ...result } : result })
}

function elicitationRequired(error: AuthorizationRequiredError): object | undefined {
  const { message, elicitations } = error
  if (elicitations.length === 0) return undefined
  return { error: { code: URL_ELICITATION_REQUIRED, message, data: { elicitations } } }
}

async function inputRequired(
  { method }: McpRequest,
  { server = '', authorizationUrl: url }: AuthorizationRequiredError,
  sealState: McpAsker['requestState'],
): Promise<object | undefined> {
  if (url === undefined || !MAY_ASK_FOR_INPUT.has(method)) return undefined
  const requestState = await sealState?.()
  if (requestState === undefined) return undefined
  const params = { mode: 'url', url, message: signInMessage(server) }
  const inputRequests = { [INPUT]: { method: 'elicitation/create', params } }
  return { result: { resultType: 'input_required', inputRequests, requestState } }
}

function errorObject(error: McpDcrError): object {
  const code = error.code === 'invalid_request' ? INVALID_PARAMS : GATEWAY_ERROR
  return { code, message: textOf(error), data: detailsOf(error) }
}

function detailsOf({ code, fix, server, authorizationUrl }: McpDcrError): object {
  return { code, fix, server, authorizationUrl }
}

/** What went wrong and what to do; the message of a wanted sign-in says both. */
function textOf(error: McpDcrError): string {
  if (error instanceof AuthorizationRequiredError || error.fix === undefined) return error.message
  return `${error.message} ${error.fix}`
}
