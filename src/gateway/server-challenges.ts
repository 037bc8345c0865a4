import { BoundedMap } from '../bounded-map.js'
import { McpDcrError } from '../errors.js'
import type { Challenge, Server } from '../model.js'
import type { OAuthContext } from '../oauth/context.js'
import { DISCOVERY_LIFETIME } from '../oauth/discover.js'
import { isGood, timed, type TimedResult } from '../oauth/timed-result.js'
import { challengeOf } from './parse-challenge.js'

/** The challenge may be missing: metadata is looked for at the well-known URLs then. */
type Asked = { readonly challenge: Challenge | undefined } | 'none needed'

/**
 * What declared servers answer a request without a token, for all who sign in without having met that themselves. It
 * is good for as long as what is discovered by it, or as a discovery that has failed.
 */
export interface ServerChallenges {
  /**
   * Asks now.
   *
   * @throws McpDcrError `request_failed` and the like where the server is down, or its address wrong
   */
  ask(server: Server): Promise<Asked>
  /** As it was answered before, or asks: those who come meanwhile wait for the same. Never rejects. */
  of(server: Server): Promise<Challenge | undefined>
}

/** How many servers' are remembered. */
const REMEMBERED = 1000

export function createServerChallenges(oauth: OAuthContext): ServerChallenges {
  const answers = new BoundedMap<string, TimedResult<Asked>>(REMEMBERED)

  function ask(server: Server): Promise<Asked> {
    const asked = askForChallenge(oauth, server)
    answers.set(server.url, timed(asked, oauth.clock))
    return asked
  }

  return {
    ask,
    async of(server) {
      // What is known of an undeclared one is known by a challenge.
      if (!server.declared) return undefined
      const known = answers.get(server.url)
      const isKnown = known !== undefined && isGood(known, oauth.clock(), DISCOVERY_LIFETIME)
      try {
        const asked = await (isKnown ? known.result : ask(server))
        return asked === 'none needed' ? undefined : asked.challenge
      } catch {
        // Discovery says what is wrong, or finds what it needs all the same.
        return undefined
      }
    },
  }
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

/** Asks an MCP server something without a token. */
async function askForChallenge(oauth: OAuthContext, server: Server): Promise<Asked> {
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
