import type * as openid from 'openid-client'
import { McpDcrError } from '../errors.js'
import type { Connection, OAuthClient, Server } from '../model.js'
import { openidClient } from '../modules.js'
import { connectionKey, isUnopened, type Versioned } from '../store/records.js'
import { withConnectionLease } from './connection-lease.js'
import type { OAuthContext } from './context.js'
import { recallClient } from './ensure-client.js'
import { connectionEvent } from './events.js'
import { nameServer } from './name-server.js'
import { requestTokens } from './request-tokens.js'
import { assertTrusted } from './trusted-issuer.js'
import type { Tokens } from './token-response.js'
import { unwrapError } from './unwrap-error.js'

/**
 * Refreshes a connection (RFC 6749 §6), unless another request or instance did so since it was read: the
 * lease is taken before the network call, and the record is read again under it (SPEC 38).
 *
 * @param stale the connection whose access token is to be replaced
 * @returns the connection as it is afterwards; `needs_authorization` where only a sign-in helps; undefined where it is gone
 * @throws McpDcrError `refresh_failed` where trying later may help, `client_invalid` where the configured client
 * is refused, `issuer_not_trusted`, and what the store throws: nothing was lost then
 */
export async function refresh(
  context: OAuthContext,
  server: Server,
  stale: Connection,
): Promise<Connection | undefined> {
  const key = connectionKey(stale.user, stale.server)
  const work = async (): Promise<Connection | undefined> => {
    const held = await context.records.connections.get(key)
    if (held?.value.accessToken !== stale.accessToken || held?.value.obtainedAt !== stale.obtainedAt) {
      return held?.value
    }
    if (held.value.refreshToken === undefined) return needsAuthorization(context, key, held, 'token_expired')
    assertTrusted(context.isTrusted, held.value.authorizationServer.issuer, server.name)
    return refreshUnderLease(context, server, key, held, held.value.refreshToken)
  }
  const watched = (): Promise<Connection | undefined> => context.failures.watch(key, work)
  // Before the lease is taken, which would run out while another instance renews the secret.
  if (stale.refreshToken !== undefined) await recallClient(context, server, stale).catch(() => undefined)
  return withConnectionLease(context, key, watched, stale.accessToken)
}

async function refreshUnderLease(
  context: OAuthContext,
  server: Server,
  key: string,
  held: Versioned<Connection>,
  refreshToken: string,
): Promise<Connection | undefined> {
  const connection = held.value
  const sent: (string | undefined)[] = [refreshToken]
  let tokens: Tokens
  try {
    const { refreshTokenGrant } = await openidClient()
    const grant = (configuration: openid.Configuration, { clientSecret }: OAuthClient) => {
      sent.push(clientSecret)
      // No scope: a refresh keeps what was granted and cannot widen it (SPEC 37).
      const parameters = connection.resource === undefined ? {} : { resource: connection.resource }
      return refreshTokenGrant(configuration, refreshToken, parameters)
    }
    tokens = await requestTokens(context, server, connection, grant, { renew: false })
  } catch (thrown) {
    return onFailure(context, server, key, held, thrown, sent)
  }
  const { expiresAt: _, ...rest } = connection
  const refreshed: Connection = {
    ...rest,
    accessToken: tokens.accessToken,
    refreshToken: tokens.refreshToken ?? refreshToken,
    ...(tokens.expiresAt !== undefined && { expiresAt: tokens.expiresAt }),
    ...(tokens.scope !== undefined && { scope: tokens.scope }),
    obtainedBy: 'refresh',
    obtainedAt: context.clock(),
  }
  // A failed save fails the call (SPEC 38). Using the old token again would have the whole grant revoked.
  const { connections } = context.records
  const isSaved = await connections.saveOrKeep(key, held, refreshed, () =>
    context.emit({ type: 'refreshed', ...connectionEvent(refreshed) }),
  )
  return isSaved ? refreshed : (await connections.get(key))?.value
}

/** RFC 6749 §5.2. These alone say that the grant or the client is gone for good. */
const FINAL = new Set([
  'invalid_grant',
  // Another word for it in the field.
  'bad_refresh_token',
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
])

async function onFailure(
  context: OAuthContext,
  server: Server,
  key: string,
  held: Versioned<Connection>,
  thrown: unknown,
  sent: readonly (string | undefined)[],
): Promise<Connection | undefined> {
  const isStatic = held.value.clientSource === 'static'
  if (thrown instanceof McpDcrError && thrown.code === 'client_invalid') {
    // A configured client that differs may be a slip of the pen: the tokens wait for its correction.
    if (isStatic) return { ...held.value, status: 'needs_authorization', reason: 'client_invalid' }
    return needsAuthorization(context, key, held, 'client_invalid')
  }
  // The registration does not open: nothing was sent, and whoever runs the gateway has to know.
  if (isUnopened(thrown)) throw nameServer(thrown, server)
  const { error, status, transient, cause } = unwrapError(thrown, sent)
  if (isStatic && error === 'invalid_client' && !transient) throw staticClientRefused(server, cause)
  if (error !== undefined && !transient && FINAL.has(error)) {
    context.logger.warn('refresh refused', { server: server.name, error })
    return needsAuthorization(
      context,
      key,
      held,
      error === 'invalid_client' ? 'client_invalid' : 'refresh_refused',
    )
  }
  const answered = status === undefined ? '' : ` (status ${status}${error === undefined ? '' : `, ${error}`})`
  throw new McpDcrError(
    'refresh_failed',
    `The authorization server could not refresh the connection${answered}.`,
    { server: server.name, cause, fix: 'Try again in a moment; the connection is kept.' },
  )
}

/**
 * Drops the tokens, keeps the record: it says why, and what had been asked for. Only if the record is
 * unchanged; otherwise somebody else was luckier, and theirs is returned (SPEC 38).
 */
export async function needsAuthorization(
  { records, emit }: Pick<OAuthContext, 'records' | 'emit'>,
  key: string,
  held: Versioned<Connection>,
  reason: string,
): Promise<Connection | undefined> {
  const { accessToken: _a, refreshToken: _r, expiresAt: _e, ...kept } = held.value
  const isSaved = await records.connections.save(key, held, {
    ...kept,
    status: 'needs_authorization',
    reason,
  })
  if (isSaved) emit({ type: 'needs_authorization', ...connectionEvent(held.value), reason })
  return (await records.connections.get(key))?.value
}

function staticClientRefused(server: Server, cause: Error): McpDcrError {
  return new McpDcrError('client_invalid', 'The provider does not accept the configured client.', {
    server: server.name,
    cause,
    fix: 'Correct oauthConfig.clientId and oauthConfig.clientSecret of this server; the connection is kept.',
  })
}
