import type * as openid from 'openid-client'
import type { Connection, Server } from '../model.js'
import { openidClient } from '../modules.js'
import { clientConfiguration, openidFetch } from './client-configuration.js'
import type { OAuthContext } from './context.js'
import { recallClient } from './ensure-client.js'
import { unwrapError } from './unwrap-error.js'

/**
 * Revokes a connection's tokens at their issuer (RFC 7009 §2.1), the refresh token first. Best effort, each
 * request bounded by the `timeout` option: what fails is logged, and never thrown (SPEC 46).
 */
export async function revokeTokens(
  context: OAuthContext,
  server: Server,
  connection: Connection,
): Promise<void> {
  const { authorizationServer, refreshToken, accessToken } = connection
  if (authorizationServer.revocation_endpoint === undefined) {
    context.logger.info('the issuer offers no revocation; the tokens run out by themselves', {
      server: server.name,
    })
    return
  }
  try {
    const client = await recallClient(context, server, connection)
    const fetch = openidFetch(context.fetch, context.reachOf(server), (response) => Promise.resolve(response))
    const configuration = await clientConfiguration(authorizationServer, client, fetch)
    for (const [token, hint] of [
      [refreshToken, 'refresh_token'],
      [accessToken, 'access_token'],
    ] as const) {
      const sent = [token, client.clientSecret]
      if (token !== undefined) await revoke(context, server, configuration, token, hint, sent)
    }
  } catch (error) {
    warn(context, server, error)
  }
}

/** Each on its own: a refused refresh token leaves the access token to be revoked. */
async function revoke(
  context: OAuthContext,
  server: Server,
  configuration: openid.Configuration,
  token: string,
  hint: 'refresh_token' | 'access_token',
  sent: readonly (string | undefined)[],
): Promise<void> {
  try {
    const { tokenRevocation } = await openidClient()
    await tokenRevocation(configuration, token, { token_type_hint: hint })
  } catch (error) {
    warn(context, server, error, sent)
  }
}

function warn(
  { logger }: OAuthContext,
  server: Server,
  thrown: unknown,
  sent: readonly (string | undefined)[] = [],
): void {
  const { error, status, cause } = unwrapError(thrown, sent)
  // RFC 7009 §2.2.1: a JWT access token that nobody looks up cannot be called back. Nothing is amiss.
  if (error === 'unsupported_token_type') {
    logger.info('the issuer revokes no tokens of this type; it runs out by itself', { server: server.name })
    return
  }
  logger.warn('a token could not be revoked; it is deleted here all the same', {
    server: server.name,
    error: error ?? cause.message,
    status,
  })
}
