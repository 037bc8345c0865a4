import type * as openid from 'openid-client'
import type { OAuthClient, Server } from '../model.js'
import { clientConfiguration, openidFetch } from './client-configuration.js'
import type { OAuthContext } from './context.js'
import { recallClient, type ClientReference } from './ensure-client.js'
import { forgetClient } from './recall-registration.js'
import { noteAccepted } from './unusable-clients.js'
import { normalizeTokenResponse, readTokens, type Tokens } from './token-response.js'
import { unwrapError } from './unwrap-error.js'

/** Renewals of one client's secret that a request may run into. */
const MAX_TRIES = 3

/**
 * Makes a token request (RFC 6749 §3.2) with the client that a connection or a pending flow began with. Where it
 * is refused since its secret was renewed meanwhile, it is tried again with the new one; a client that is
 * refused as it is held is forgotten (SPEC 44).
 *
 * @param options.renew whether a secret that is about to expire is renewed first. Defaults to true
 * @throws McpDcrError `client_invalid` where the client is gone, `token_response_invalid`; and what openid-client throws
 */
export async function requestTokens(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
  grant: (configuration: openid.Configuration, client: OAuthClient) => Promise<openid.TokenEndpointResponse>,
  { renew = true }: { renew?: boolean } = {},
): Promise<Tokens> {
  const fetch = openidFetch(context.fetch, context.reachOf(server), normalizeTokenResponse)
  const { redirectUri, authorizationServer } = reference
  const { issuer } = authorizationServer
  for (let tries = 1; ; tries++) {
    const client = await recallClient(context, server, reference, { renew })
    try {
      const configuration = await clientConfiguration(authorizationServer, client, fetch)
      const answer = await grant(configuration, client)
      if (reference.clientSource === 'dynamic')
        noteAccepted(context, { server: server.name, issuer, redirectUri })
      return readTokens(answer, context.clock())
    } catch (thrown) {
      const { error, transient } = unwrapError(thrown)
      if (error !== 'invalid_client' || transient) throw thrown
      if ((await forgetClient(context, server, reference, client)) || tries === MAX_TRIES) throw thrown
    }
  }
}
