import type { Request } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { scopeList } from '../oauth/choose-scope.js'
import { needsAuthorization, refresh } from '../oauth/refresh.js'
import { connectionKey } from '../store/records.js'
import { redirectAnswer } from './answer.js'
import type { GatewayContext } from './context.js'
import type { Answer } from './intercept.js'
import { requireAuthorization } from './require-authorization.js'

/** How soon after a sign-in a rejected token means that signing in again would not help, in milliseconds. */
const JUST_NOW = 60_000

/**
 * A 401 on a token that was sent (SPEC 5): refresh once and let the client repeat its request (307), then
 * authorize again. A token of a brand-new sign-in that was never accepted ends it: the next sign-in would be
 * rejected as well, and a browser would go round in circles.
 */
export async function onTokenRejected(
  context: GatewayContext,
  req: Request,
  server: Server,
  sent: Connection,
  challenge: Challenge | undefined,
  publicPath: string | undefined,
): Promise<Answer> {
  const { accepted, acceptedSignIns, oauth } = context
  const key = connectionKey(sent.user, sent.server)
  const justRefreshed =
    sent.obtainedBy === 'refresh' && isJustNow(context, sent.obtainedAt) && !accepted.has(sent)
  if (sent.refreshToken !== undefined && !justRefreshed) {
    const now = await refresh(oauth, server, sent)
    if (now?.status === 'connected' && now.accessToken !== sent.accessToken)
      return redirectAnswer(publicPath ?? '/', 307)
  }
  if (isJustNow(context, sent.connectedAt) && acceptedSignIns.get(key) !== sent.connectedAt)
    throw tokenRejected(server)
  await dropRejected(context, sent)
  return requireAuthorization(context, req, {
    server,
    user: sent.user,
    challenge,
    fresh: true,
    returnTo: publicPath,
  })
}

/** Drops a token that its server rejects for good, unless the connection has another one by now. */
export async function dropRejected({ oauth }: GatewayContext, rejected: Connection): Promise<void> {
  const key = connectionKey(rejected.user, rejected.server)
  const held = await oauth.records.connections.get(key)
  if (held?.value.status === 'connected' && held.value.accessToken === rejected.accessToken) {
    await needsAuthorization(oauth, key, held, 'token_rejected')
  }
}

/**
 * Whether a 403 asks for more scope than was ever asked for (SPEC 3, 39). What was asked for and not granted
 * is not asked for again: the person, or their administrator, has said no.
 */
export function asksForMore(challenge: Challenge | undefined, sent: Connection): boolean {
  if (challenge?.error !== 'insufficient_scope') return false
  const asked = new Set(scopeList(sent.requestedScope))
  return scopeList(challenge.scope).some((scope) => !asked.has(scope))
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
