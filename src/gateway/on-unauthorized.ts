import type { Request } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { needsAuthorization } from '../oauth/refresh.js'
import { connectionKey } from '../store/records.js'
import { redirectAnswer } from './answer.js'
import type { GatewayContext } from './context.js'
import type { Answer } from './intercept.js'
import { refreshInTime } from './refresh-in-time.js'
import { requireAuthorization } from './require-authorization.js'

/** How soon after a sign-in a rejected token means that signing in again would not help, in milliseconds. */
const JUST_NOW = 60_000

/**
 * A 401 on a token that was sent (SPEC 5): refresh once and let the client repeat its request (307), then
 * authorize again.
 *
 * @throws McpDcrError `token_rejected`, and what {@link requireAuthorization} throws
 */
export async function onTokenRejected(
  context: GatewayContext,
  req: Request,
  server: Server,
  sent: Connection,
  challenge: Challenge | undefined,
  publicPath: string | undefined,
): Promise<Answer> {
  if ((await renewRejected(context, server, sent)) !== undefined) {
    if (publicPath === undefined) throw tokenRenewed(server.name)
    return redirectAnswer(publicPath, 307)
  }
  await dropRejected(context, server, sent, challenge)
  return requireAuthorization(context, req, {
    server,
    user: sent.user,
    challenge,
    fresh: true,
    returnTo: publicPath,
  })
}

/** The connection with another token than the rejected one; undefined where a refresh gives none, or gave this one just now. */
export async function renewRejected(
  context: GatewayContext,
  server: Server,
  rejected: Connection,
): Promise<Connection | undefined> {
  const { obtainedBy, obtainedAt, refreshToken, accessToken } = rejected
  const justRefreshed =
    obtainedBy === 'refresh' && isJustNow(context, obtainedAt) && !context.accepted.has(rejected)
  if (refreshToken === undefined || justRefreshed) return undefined
  const renewed = await refreshInTime(context, server, rejected)
  return renewed?.status === 'connected' && renewed.accessToken !== accessToken ? renewed : undefined
}

/**
 * Drops a token that its server rejects for good, unless the connection has another one by now.
 *
 * @throws McpDcrError `token_rejected` for that of a brand-new sign-in that was never accepted: the next one
 * would be rejected as well, and a browser would go round in circles. Not where the server has another issuer by
 * now: that one was found in what was known of it before (RFC 9728 §5.2)
 */
export async function dropRejected(
  context: GatewayContext,
  server: Server,
  rejected: Connection,
  challenge: Challenge | undefined,
): Promise<void> {
  const { signIns, acceptedSignIns, oauth } = context
  const key = connectionKey(rejected.user, rejected.server)
  // Of a sign-in before a restart it is not known whether its token was ever accepted.
  const isNew = isJustNow(context, rejected.connectedAt) && signIns.get(key) === rejected.connectedAt
  const wasAccepted = acceptedSignIns.get(key) === rejected.connectedAt
  if (isNew && !wasAccepted && !(await hasMoved(context, server, rejected, challenge))) {
    const error = tokenRejected(server)
    oauth.failures.note(key, error)
    throw error
  }
  const held = await oauth.records.connections.get(key)
  if (held?.value.status === 'connected' && held.value.accessToken === rejected.accessToken) {
    await needsAuthorization(oauth, key, held, 'token_rejected')
  }
}

/** Whether the server names another issuer than that of a connection. */
async function hasMoved(
  { oauth }: GatewayContext,
  server: Server,
  { authorizationServer }: Connection,
  challenge: Challenge | undefined,
): Promise<boolean> {
  const found = await oauth.discover(server, challenge, { fresh: true }).catch(() => undefined)
  return found !== undefined && found.authorizationServer.issuer !== authorizationServer.issuer
}

function isJustNow({ oauth }: GatewayContext, time: number): boolean {
  return oauth.clock() - time < JUST_NOW
}

function tokenRejected(server: Server): McpDcrError {
  return new McpDcrError(
    'token_rejected',
    `The MCP server "${server.name}" rejects the token that its own authorization server has just issued.`,
    {
      server: server.name,
      fix: 'Signing in again would not help. Check that the server’s url is the resource its metadata names, and oauthConfig.resource and oauthConfig.scopes.',
    },
  )
}

/** A request that nobody but its client can repeat, after a refresh. */
export function tokenRenewed(server: string): McpDcrError {
  return new McpDcrError('token_renewed', `The token for "${server}" had to be renewed.`, {
    server,
    fix: 'Repeat the request: the new token is ready.',
  })
}
