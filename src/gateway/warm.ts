import { McpDcrError, type ErrorCode } from '../errors.js'
import { forEachOf } from '../for-each.js'
import type { Challenge, Server } from '../model.js'
import { prepareAuthorization } from '../oauth/authorize.js'
import type { OAuthContext } from '../oauth/context.js'
import { failureKey } from '../oauth/failures.js'
import { toMcpDcrError } from './answer.js'
import type { GatewayContext } from './context.js'
import { challengeOf } from './parse-challenge.js'

/** What became of one server. */
export type WarmResult =
  | {
      /** Its authorization server is known, and there is a client: a sign-in can begin at once. */
      readonly status: 'ready'
      readonly server: string
      readonly issuer: string
      readonly clientId: string
    }
  | {
      /** It answered a request without a token, and asked for none. */
      readonly status: 'no_sign_in_needed'
      readonly server: string
    }
  | {
      readonly status: 'failed'
      readonly server: string
      readonly code: ErrorCode
      readonly message: string
      /** What to do. */
      readonly fix?: string
    }

/** How many servers are warmed at the same time: each makes a handful of requests, one after the other. */
const AT_ONCE = 4

/** Does for each server what the first sign-in would wait for; see `McpDcr.warm`. Never rejects. */
export async function warmServers(
  context: GatewayContext,
  servers: readonly Server[],
  baseUrl: string,
): Promise<WarmResult[]> {
  const results: WarmResult[] = []
  await forEachOf(servers, AT_ONCE, async (server, at) => {
    results[at] = await warmOrReport(context, server, baseUrl)
  })
  return results
}

async function warmOrReport(context: GatewayContext, server: Server, baseUrl: string): Promise<WarmResult> {
  try {
    return await context.oauth.failures.watch(failureKey(server), () => warm(context, server, baseUrl))
  } catch (thrown) {
    const { code, message, fix } = toMcpDcrError(thrown, context.config.logger)
    return { status: 'failed', server: server.name, code, message, ...(fix !== undefined && { fix }) }
  }
}

async function warm({ oauth, warmed }: GatewayContext, server: Server, baseUrl: string): Promise<WarmResult> {
  const asked = await askForChallenge(oauth, server)
  if (asked === 'none needed') return { status: 'no_sign_in_needed', server: server.name }
  const { challenge } = asked
  const preparation = { server, baseUrl, challenge, stepUp: undefined }
  const { discovered, client } = await prepareAuthorization(oauth, preparation, { fresh: true })
  if (challenge !== undefined) warmed.set(server, challenge)
  const { issuer } = discovered.authorizationServer
  return { status: 'ready', server: server.name, issuer, clientId: client.clientId }
}

const PROTOCOL_VERSION = '2025-11-25'

/** What an MCP client begins with (MCP 2025-11-25, Lifecycle). */
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: {
    protocolVersion: PROTOCOL_VERSION,
    capabilities: {},
    clientInfo: { name: 'mcp-dcr', version: '1.0.0' },
  },
}

/**
 * Asks an MCP server something without a token. The challenge may be missing: its metadata is looked for at the
 * well-known URLs then.
 */
async function askForChallenge(
  oauth: OAuthContext,
  server: Server,
): Promise<{ challenge: Challenge | undefined } | 'none needed'> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const init = { method: 'POST', headers, body: JSON.stringify(INITIALIZE) }
  // An event stream may stay open.
  const response = await oauth.fetch(server.url, init, oauth.reachOf(server), { headersOnly: true })
  const { status } = response
  if (status === 401) return { challenge: challengeOf(response) }
  // These say nothing of tokens: the address is wrong, or the server is down.
  if (status === 403 || status === 404 || status >= 500) throw unusable(server, status)
  await endSession(oauth, server, response.headers.get('mcp-session-id'))
  return 'none needed'
}

/** Nobody will use it; a server that does not let its clients end theirs says so by a 405. */
async function endSession(
  { fetch, reachOf }: OAuthContext,
  server: Server,
  sessionId: string | null,
): Promise<void> {
  if (sessionId === null) return
  const headers = { 'mcp-session-id': sessionId, 'mcp-protocol-version': PROTOCOL_VERSION }
  await fetch(server.url, { method: 'DELETE', headers }, reachOf(server), { headersOnly: true }).catch(
    () => undefined,
  )
}

function unusable({ name, url }: Server, status: number): McpDcrError {
  const { origin } = new URL(url)
  return new McpDcrError('request_failed', `The MCP server at ${origin} answered with status ${status}.`, {
    server: name,
    fix: 'Check the url of this server, and that it is up.',
  })
}
