import { McpDcrError } from '../errors.js'
import type { OAuthClient } from '../model.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'
import { dynamicClient } from './dynamic-client.js'
import type { ClientRequest } from './ensure-client.js'
import { withProviderHints } from './provider-hints.js'
import { redirectUriOf } from './redirect-uri.js'
import { registrationInstructions } from './registration-instructions.js'

/**
 * The dynamically registered client, unless the server's configuration or what is known of its provider rules
 * that out: then the answer is what to do by hand (SPEC 15).
 *
 * @throws McpDcrError `registration_endpoint_not_found`, and what registration throws
 */
export async function registerWhereOffered(
  context: OAuthContext,
  request: ClientRequest,
  provider: ProviderProfile | undefined,
): Promise<OAuthClient> {
  const { server, baseUrl } = request
  const redirectUri = redirectUriOf(baseUrl)
  assertOffered(request, redirectUri, provider)
  try {
    await assertInitialAccessToken(context, request, redirectUri, provider)
    return await dynamicClient(context, request)
  } catch (error) {
    throw withProviderHints(error, server, redirectUri, provider)
  }
}

function assertOffered(
  { server: { oauth, ...server } }: ClientRequest,
  redirectUri: string,
  provider: ProviderProfile | undefined,
): void {
  const isKnownToLackIt = provider?.dynamicRegistration === false && oauth.registrationUrl === undefined
  if (oauth.dynamicRegistration ?? !isKnownToLackIt) return
  throw new McpDcrError(
    'registration_endpoint_not_found',
    oauth.dynamicRegistration === false
      ? `Dynamic client registration is switched off for the server "${server.name}", and it has no client.`
      : `${provider?.name} has no dynamic client registration.`,
    { server: server.name, fix: registrationInstructions({ oauth, ...server }, redirectUri, provider) },
  )
}

/** Where registration is known to need a token, it is not tried without; a client that is there is used. */
async function assertInitialAccessToken(
  { records: { registrations } }: OAuthContext,
  { server, discovered }: ClientRequest,
  redirectUri: string,
  provider: ProviderProfile | undefined,
): Promise<void> {
  if (provider?.initialAccessToken?.required !== true || server.oauth.initialAccessToken !== undefined) return
  const key = registrationKey(server.name, discovered.authorizationServer.issuer, redirectUri)
  if ((await registrations.get(key))?.value.clientId !== undefined) return
  throw new McpDcrError(
    'registration_failed',
    `${provider.name} registers clients only with an initial access token, and none is configured.`,
    { server: server.name, fix: registrationInstructions(server, redirectUri) },
  )
}
