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
/** Of a session's id, in characters: longer ones are not remembered. */
const MAX_SESSION_ID = 1024

export function createMcpSessions(): McpSessions {
  const sessions = new BoundedMap<string, Said>(MAX_SESSIONS)
  const keyOf = (server: string, sessionId: string): string => JSON.stringify([server, sessionId])
  function saidBefore(req: IncomingMessage, server: string): Said | undefined {
    const sessionId = sessionIdOf(req)
    const said = sessionId === undefined ? undefined : sessions.get(keyOf(server, sessionId))
    if (said === undefined) return undefined
    // A client proposes one version, and may be answered with another: its requests say which.
    const named = req.headers['mcp-protocol-version'] ?? said.version
    const version = isVersion(named) ? named : undefined
    // One of a later version says in each request what it can do, and must not get the error of the earlier.
    const isModern = isModernVersion(version)
    return { version, hasUrls: said.hasUrls && !isModern }
  }
  return {
    clientOf(req, server, request) {
      const { _meta: meta } = request.params
      if (isObject(meta) && isVersion(meta[VERSION])) {
        const said = { version: meta[VERSION], hasUrls: hasUrls(meta[CAPABILITIES]) }
        const isModern = isModernVersion(said.version)
        // Both have to say so: of one that contradicts itself nothing is known.
        const isKnown = isModern === isModernRequest(req)
        return { isModern: isModern && isKnown, opensUrls: isKnown && opensUrls(said) }
      }
      const said = saidBy(request) ?? saidBefore(req, server)
      return { isModern: false, opensUrls: said !== undefined && opensUrls(said) }
    },
    open(server, sessionId, initialize) {
      const said = saidBy(initialize)
      if (said !== undefined && sessionId.length <= MAX_SESSION_ID)
        sessions.set(keyOf(server, sessionId), said)
    },
  }
}

/** Whether a request's header says that it is of 2026-07-28 or later, as it has to (MCP 2026-07-28, Streamable HTTP). */
export function isModernRequest({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return isModernVersion(headers['mcp-protocol-version'])
}

function isModernVersion(version: unknown): boolean {
  return isVersion(version) && version >= FIRST_MODERN
}

/** The session that a client names (`Mcp-Session-Id`), in 1,024 characters at the most. */
export function sessionIdOf({ headers }: IncomingMessage): string | undefined {
  const id = headers['mcp-session-id']
  return typeof id === 'string' && id !== '' && id.length <= MAX_SESSION_ID ? id : undefined
}

/** What a client says of itself. */
interface Said {
  readonly version: string | undefined
  /** Whether it declares `elicitation.url`. */
  readonly hasUrls: boolean
}

/** Up to 2025-11-25. */
function saidBy({ method, params }: McpRequest): Said | undefined {
  if (method !== 'initialize') return undefined
  const version = params['protocolVersion']
  return { version: isVersion(version) ? version : undefined, hasUrls: hasUrls(params['capabilities']) }
}

function hasUrls(capabilities: unknown): boolean {
  const elicitation = isObject(capabilities) ? capabilities['elicitation'] : undefined
  return isObject(elicitation) && isObject(elicitation['url'])
}

function opensUrls({ version, hasUrls }: Said): boolean {
  return hasUrls && version !== undefined && version >= FIRST_WITH_URLS
}

function isVersion(value: unknown): value is string {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d$/.test(value)
}
