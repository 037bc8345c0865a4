import type { Request } from 'express'
import { parseMcpMessage, type McpMessage, type McpRequest } from './mcp-message.js'
import type { OutgoingRequest } from './outgoing-request.js'

/** Longer names are cut, in characters: a client chooses them, and they are remembered. */
const MAX_LENGTH = 500

/**
 * What a request does, so that tries can be counted for each operation: the JSON-RPC method with the tool, prompt
 * or resource that it names, else `<HTTP method> <path>`.
 *
 * @param message undefined where it is none, or is not known
 */
export function operationOf(req: Request, message: McpMessage | undefined): string {
  return cut(nameOf(message) ?? `${req.method} ${req.originalUrl.split('?', 1)[0]}`)
}

/** As {@link operationOf}, of a `fetch`: its message is not known where the body is a stream. */
export function operationOfFetch({ method, url, body }: OutgoingRequest): string {
  return cut(nameOf(messageOf(body)) ?? `${method} ${url.pathname}`)
}

/**
 * Whether the name stands for one operation. A POST whose message is not known may be any: that one succeeds
 * (`initialize`, say) says nothing of another.
 */
export function isOneOperation(operation: string): boolean {
  return !operation.startsWith('POST /')
}

/** `tools/call add`, or `tools/list`; of a batch, all of them. Undefined where nothing is asked. */
function nameOf(message: McpMessage | undefined): string | undefined {
  const names = new Set(message?.requests.map(nameOfRequest))
  return names.size === 0 ? undefined : [...names].sort().join(', ')
}

function nameOfRequest({ method, params: { name, uri } }: McpRequest): string {
  const target = name ?? uri
  return typeof target === 'string' ? `${method} ${target}` : method
}

function messageOf(body: OutgoingRequest['body']): McpMessage | undefined {
  if (typeof body === 'string') return parseMcpMessage(body)
  if (body instanceof ArrayBuffer || body instanceof Uint8Array)
    return parseMcpMessage(new TextDecoder().decode(body))
  return undefined
}

function cut(operation: string): string {
  return operation.slice(0, MAX_LENGTH)
}
