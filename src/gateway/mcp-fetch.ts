import type { Challenge, Connection, Server } from '../model.js'
import { refresh } from '../oauth/refresh.js'
import { liveConnection } from './attach-token.js'
import { noteAccepted, type GatewayContext } from './context.js'
import { dropRejected } from './on-unauthorized.js'
import { parseChallenge } from './parse-challenge.js'
import { meetUndeclared } from './require-authorization.js'

/** Called on a 401 that only a sign-in can answer; throws what the caller of `fetch` gets. */
export type OnUnauthorized = (server: Server, challenge: Challenge | undefined) => never

/** Whose requests these are, and to which servers. */
export interface McpFetchOptions {
  readonly user: string
  readonly serverOf: (url: URL) => Server | undefined
  /** Whether a server that is not declared is served from its challenge. */
  readonly undeclared: boolean
  readonly onUnauthorized: OnUnauthorized
}

/**
 * `fetch` in a user's name: attaches the token of the server that the URL belongs to, refreshes, and
 * repeats once after a 401 where the body can be sent twice. A redirect to another origin loses the token:
 * Node's own fetch sees to that (Fetch Standard, HTTP-redirect fetch, step 13).
 */
export function createMcpFetch(context: GatewayContext, options: McpFetchOptions): typeof fetch {
  return async function mcpFetch(input, init) {
    const url = new URL(input instanceof Request ? input.url : String(input))
    let server = options.serverOf(url)
    let connection = server && (await liveConnection(context, server, options.user))
    let response = await send(input, init, connection)
    const challenge = response.status === 401 ? challengeOf(response) : undefined
    if (server === undefined && options.undeclared && challenge?.resourceMetadata !== undefined) {
      server = await meetUndeclared(context, challenge)
      connection = await liveConnection(context, server, options.user)
      if (connection !== undefined && isReplayable(input, init))
        response = await repeat(response, input, init, connection)
    }
    if (response.status === 401 && server !== undefined && connection !== undefined) {
      const renewed = await renew(context, server, connection)
      if (renewed !== undefined && isReplayable(input, init))
        response = await repeat(response, input, init, renewed)
      if (response.status === 401) await dropRejected(context, renewed ?? connection)
      connection = renewed ?? connection
    }
    if (response.status !== 401) {
      if (connection !== undefined) noteAccepted(context, connection)
      return response
    }
    if (server === undefined) return response
    await response.body?.cancel()
    return options.onUnauthorized(server, challengeOf(response))
  }
}

type Input = Parameters<typeof fetch>[0]

function send(
  input: Input,
  init: RequestInit | undefined,
  connection: Connection | undefined,
): Promise<Response> {
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
  headers.delete('authorization')
  if (connection?.accessToken !== undefined) headers.set('authorization', `Bearer ${connection.accessToken}`)
  return fetch(input, { ...init, headers })
}

async function repeat(
  rejected: Response,
  input: Input,
  init: RequestInit | undefined,
  connection: Connection,
): Promise<Response> {
  await rejected.body?.cancel()
  return send(input, init, connection)
}

function isReplayable(input: Input, init: RequestInit | undefined): boolean {
  const body: unknown = init?.body
  if (body === undefined || body === null) return !(input instanceof Request) || input.body === null
  return (
    typeof body === 'string' ||
    ArrayBuffer.isView(body) ||
    [ArrayBuffer, URLSearchParams, FormData, Blob].some((type) => body instanceof type)
  )
}

function challengeOf(response: Response): Challenge | undefined {
  const header = response.headers.get('www-authenticate')
  return header === null ? undefined : parseChallenge([header])
}

/** The connection with another token, where a refresh gives one. */
async function renew(
  context: GatewayContext,
  server: Server,
  connection: Connection,
): Promise<Connection | undefined> {
  if (connection.refreshToken === undefined) return undefined
  const renewed = await refresh(context.oauth, server, connection)
  return renewed?.status === 'connected' && renewed.accessToken !== connection.accessToken
    ? renewed
    : undefined
}
