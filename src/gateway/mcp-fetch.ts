import type { Challenge, Connection, Server } from '../model.js'
import { abortable } from './abortable.js'
import { liveConnection } from './attach-token.js'
import { challengeKey, noteAnswer, type GatewayContext } from './context.js'
import { dropRejected, renewRejected, tokenRenewed } from './on-unauthorized.js'
import { operationOfFetch } from './operation.js'
import { outgoingRequest, type OutgoingRequest } from './outgoing-request.js'
import { challengeOf } from './parse-challenge.js'
import { beginStepUp, noteOutcome } from './step-up.js'
import { meetUndeclared } from './undeclared.js'

/** Called where only a sign-in can help; throws what the caller of `fetch` gets. */
export type OnUnauthorized = (server: Server, challenge: Challenge | undefined) => never

/** Whose requests these are, and to which servers. */
export interface McpFetchOptions {
  readonly user: string
  /** Of those that there are by then: an undeclared one is known once it has been met. */
  readonly serverOf: (url: URL) => Server | undefined
  /** Whether a server that is not declared is served from its challenge. */
  readonly undeclared: boolean
  readonly onUnauthorized: OnUnauthorized
}

interface Sent {
  readonly response: Response
  /** Whether a redirect has led away from the server. */
  readonly strayed: boolean
}

/**
 * `fetch` in a user's name: attaches the token of the server that the URL belongs to, refreshes, and
 * repeats once after a 401 where the body can be sent twice. The token goes to that server alone: a redirect
 * that leads anywhere else, on the same origin too, loses it for good.
 */
export function createMcpFetch(context: GatewayContext, options: McpFetchOptions): typeof fetch {
  const { user, serverOf, undeclared, onUnauthorized } = options

  return async function mcpFetch(input, init) {
    const request = await outgoingRequest(input, init)
    const { url, signal } = request
    const server = serverOf(url)
    const connection = server && (await abortable(signal, () => liveConnection(context, server, user)))
    const sent = await send(request, server, connection)
    if (server !== undefined) return settle(request, server, connection, sent, true)
    const { response, strayed } = sent
    const challenge = undeclared && !strayed && response.status === 401 ? challengeOf(response) : undefined
    if (challenge?.resourceMetadata === undefined) return response
    await response.body?.cancel()
    const met = await abortable(signal, () => meetUndeclared(context, user, challenge, url))
    const known = await abortable(signal, () => liveConnection(context, met, user))
    if (known === undefined) return onUnauthorized(met, challenge)
    return settle(request, met, known, await repeat(request, met, known), true)
  }

  /** What an answer to this token, or to none, comes down to; `mayRepeat` until the request was sent again. */
  async function settle(
    request: OutgoingRequest,
    server: Server,
    connection: Connection | undefined,
    { response, strayed }: Sent,
    mayRepeat: boolean,
  ): Promise<Response> {
    // Of somewhere else: it says nothing of this server's token.
    if (strayed) return response
    const { status } = response
    const challenge = challengeOf(response)
    const isStepUp =
      status === 403 &&
      connection !== undefined &&
      (await beginStepUp(context, connection, challenge, operationOfFetch(request)))
    if (status !== 401 && !isStepUp) {
      if (connection !== undefined) {
        noteAnswer(context, connection, status)
        noteOutcome(context, connection, status, () => operationOfFetch(request))
      }
      return response
    }
    await response.body?.cancel()
    if (status === 401 && connection !== undefined) {
      const renewed = mayRepeat
        ? await abortable(request.signal, () => renewRejected(context, server, connection))
        : undefined
      if (renewed !== undefined) {
        return settle(request, server, renewed, await repeat(request, server, renewed), false)
      }
      await dropRejected(context, server, connection, challenge)
    }
    // For whoever opens the connect URL, which no answer of ours may ever have named.
    if (status === 401 && challenge !== undefined)
      context.challenges.set(challengeKey(user, server), challenge)
    return onUnauthorized(server, challenge)
  }

  /** @throws McpDcrError `token_renewed` where the body is a stream that has been read */
  function repeat(request: OutgoingRequest, server: Server, connection: Connection): Promise<Sent> {
    if (!request.replayable) throw tokenRenewed(connection.server)
    return send(request, server, connection)
  }

  async function send(
    request: OutgoingRequest,
    server: Server | undefined,
    connection: Connection | undefined,
  ): Promise<Sent> {
    let strayed = false
    const response = await request.send((url) => {
      // Once lost, a token does not come back: where the redirect leads was chosen elsewhere.
      strayed ||= !isOf(server, url, request.url)
      return strayed ? undefined : connection?.accessToken
    })
    return { response, strayed }
  }

  function isOf(server: Server | undefined, url: URL, start: URL): boolean {
    return server === undefined ? url.origin === start.origin : serverOf(url)?.name === server.name
  }
}
