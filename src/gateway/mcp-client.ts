import type { IncomingMessage } from 'node:http'
import { BoundedMap } from '../bounded-map.js'
import { isObject } from '../json-object.js'
import type { McpRequest } from './mcp-message.js'

/** What an MCP client has said of itself, as far as it matters to how it is told to sign in. */
export interface McpClient {
  /** Whether it speaks 2026-07-28 or later: requests stand alone, and results may ask for input. */
  readonly isModern: boolean
  /** Whether it opens URLs for a person (`elicitation.url`; `elicitation: {}` means forms alone). */
  readonly opensUrls: boolean
}

/** What is known of a client that has said nothing. */
const UNKNOWN: McpClient = { isModern: false, opensUrls: false }

/** The first version whose requests say who sends them, in `_meta`. */
const FIRST_MODERN = '2026-07-28'
/** The first with URL elicitation. */
const FIRST_WITH_URLS = '2025-11-25'

const VERSION = 'io.modelcontextprotocol/protocolVersion'
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

/** Clients by their session. */
export interface McpSessions {
  /** What the client of this request is known to be: by the request itself, or by its session's `initialize`. */
  clientOf(req: IncomingMessage, server: string, request: McpRequest): McpClient
  /** Notes the client of a session that its server has just opened. */
  open(server: string, sessionId: string, initialize: McpRequest): void
}

const MAX_SESSIONS = 10_000

export function createMcpSessions(): McpSessions {
  const sessions = new BoundedMap<string, McpClient>(MAX_SESSIONS)
  const keyOf = (server: string, sessionId: string): string => JSON.stringify([server, sessionId])
  return {
    clientOf(req, server, request) {
      const sessionId = sessionIdOf(req)
      return (
        declared(request) ??
        (sessionId === undefined ? undefined : sessions.get(keyOf(server, sessionId))) ??
        UNKNOWN
      )
    },
    open(server, sessionId, initialize) {
      sessions.set(keyOf(server, sessionId), declared(initialize) ?? UNKNOWN)
    },
  }
}

/** The session that a client names (`Mcp-Session-Id`). */
export function sessionIdOf({ headers }: IncomingMessage): string | undefined {
  const id = headers['mcp-session-id']
  return typeof id === 'string' && id !== '' ? id : undefined
}

/** What the request says of its sender: in `initialize` (up to 2025-11-25), or in its `_meta`. */
function declared({ method, params }: McpRequest): McpClient | undefined {
  const { _meta: meta } = params
  if (isObject(meta) && typeof meta[VERSION] === 'string') return clientOf(meta[VERSION], meta[CAPABILITIES])
  if (method !== 'initialize' || typeof params['protocolVersion'] !== 'string') return undefined
  return clientOf(params['protocolVersion'], params['capabilities'])
}

function clientOf(version: string, capabilities: unknown): McpClient {
  const elicitation = isObject(capabilities) ? capabilities['elicitation'] : undefined
  return {
    isModern: version >= FIRST_MODERN,
    opensUrls: version >= FIRST_WITH_URLS && isObject(elicitation) && isObject(elicitation['url']),
  }
}
