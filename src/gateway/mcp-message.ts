import { isObject } from '../json-object.js'

/** A JSON-RPC request of an MCP client. */
export interface McpRequest {
  readonly id: string | number
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

/** What an MCP client has posted. */
export interface McpMessage {
  /** Those that want an answer; notifications and responses want none. */
  readonly requests: readonly McpRequest[]
  /** A list, as versions before 2025-06-18 allow. */
  readonly isBatch: boolean
}

/** What an MCP client has posted that is not known, or not understood: nothing of it can be answered by its id. */
export const UNREADABLE: McpMessage = { requests: [], isBatch: false }

/** Of one batch; each is answered. */
const MAX_BATCH = 1000

/** Reads a parsed body; undefined where nothing in it is JSON-RPC 2.0. */
export function readMcpMessage(body: unknown): McpMessage | undefined {
  const isBatch = Array.isArray(body)
  const items: unknown[] = isBatch ? body : [body]
  if (!items.some(isJsonRpc)) return undefined
  if (items.length > MAX_BATCH || !items.every(isJsonRpc)) return UNREADABLE
  return { requests: items.filter(isRequest).map(toRequest), isBatch }
}

/** @param text of a body, in JSON */
export function parseMcpMessage(text: string): McpMessage | undefined {
  try {
    // RFC 8259 §8.1 lets a parser ignore a byte order mark; those of MCP servers do.
    return readMcpMessage(JSON.parse(text.replace(/^\uFEFF/, '')))
  } catch {
    return undefined
  }
}

type JsonRpc = Readonly<Record<string, unknown>>

function isJsonRpc(value: unknown): value is JsonRpc {
  return isObject(value) && value['jsonrpc'] === '2.0'
}

function isRequest({ id, method }: JsonRpc): boolean {
  return typeof method === 'string' && (typeof id === 'string' || typeof id === 'number')
}

function toRequest({ id, method, params }: JsonRpc): McpRequest {
  return { id: id as string | number, method: method as string, params: isObject(params) ? params : {} }
}
