import type { Challenge, Connection, Server } from '../model.js'
import { liveConnection } from './attach-token.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { asksForMore, dropRejected, renewRejected, tokenRenewed } from './on-unauthorized.js'
import { parseChallenge } from './parse-challenge.js'
import { meetUndeclared } from './undeclared.js'

/** Called where only a sign-in can help; throws what the caller of `fetch` gets. */
export type OnUnauthorized = (server: Server, challenge: Challenge | undefined) => never

/** Whose requests these are, and to which servers. */
export interface McpFetchOptions {
  readonly user: string
  readonly serverOf: (url: URL) => Server | undefined
  /** Whether a server that is not declared is served from its challenge. */
  readonly undeclared: boolean
  readonly onUnauthorized: OnUnauthorized
}

type Input = Parameters<typeof fetch>[0]

/**
 * `fetch` in a user's name: attaches the token of the server that the URL belongs to, refreshes, and
 * repeats once after a 401 where the body can be sent twice. A redirect to another origin loses the token:
 * Node's own fetch sees to that (Fetch Standard, HTTP-redirect fetch, step 13).
 */
export function createMcpFetch(context: GatewayContext, options: McpFetchOptions): typeof fetch {
  const { user, serverOf, undeclared, onUnauthorized } = options

  return async function mcpFetch(input, init) {
    const url = new URL(input instanceof Request ? input.url : String(input))
    const server = serverOf(url)
    const connection = server && (await liveConnection(context, server, user))
    const response = await send(input, init, connection)
    const again = (renewed: Connection): Promise<Response> => repeat(input, init, renewed)
    if (server !== undefined) return settle(server, connection, response, again)
    const challenge = undeclared && response.status === 401 ? challengeOf(response) : undefined
    if (challenge?.resourceMetadata === undefined) return response
    await response.body?.cancel()
    const met = await meetUndeclared(context, user, challenge, url)
    const known = await liveConnection(context, met, user)
    if (known === undefined) return onUnauthorized(met, challenge)
    return settle(met, known, await again(known), again)
  }

  /** What an answer to this token, or to none, comes down to; `again` sends the request once more. */
  async function settle(
    server: Server,
    sent: Connection | undefined,
    response: Response,
    again: ((renewed: Connection) => Promise<Response>) | undefined,
  ): Promise<Response> {
    const challenge = challengeOf(response)
    if (response.status !== 401 && !(response.status === 403 && sent && asksForMore(challenge, sent))) {
      if (sent !== undefined) noteAnswer(context, sent, response.status)
      return response
    }
    await response.body?.cancel()
    if (response.status === 401 && sent !== undefined) {
      const renewed = again && (await renewRejected(context, server, sent))
      if (again !== undefined && renewed !== undefined) {
        return settle(server, renewed, await again(renewed), undefined)
      }
      await dropRejected(context, server, sent)
    }
    return onUnauthorized(server, challenge)
  }
}

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

/** @throws McpDcrError `token_renewed` where the body is a stream that has been read */
function repeat(input: Input, init: RequestInit | undefined, connection: Connection): Promise<Response> {
  if (isReplayable(input, init)) return send(input, init, connection)
  throw tokenRenewed(connection.server)
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
