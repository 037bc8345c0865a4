import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { AuthorizationServerMetadata, OAuthClient, Registration, Server } from '../model.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'
import type { ClientRequest } from './ensure-client.js'
import { redirectUriOf } from './redirect-uri.js'
import { supportedMethod } from './registration-request.js'

/** The client that is configured by hand; undefined where none is. */
export function staticClient(
  { oauth }: Server,
  authorizationServer: AuthorizationServerMetadata,
  provider?: ProviderProfile,
): OAuthClient | undefined {
  const { clientId, clientSecret, clientPrivateKey } = oauth
  if (clientId === undefined) return undefined
  if (clientPrivateKey !== undefined)
    return { source: 'static', clientId, clientPrivateKey, tokenEndpointAuthMethod: 'private_key_jwt' }
  if (clientSecret === undefined) return { source: 'static', clientId, tokenEndpointAuthMethod: 'none' }
  const tokenEndpointAuthMethod =
    oauth.tokenEndpointAuthMethod ??
    (authorizationServer.token_endpoint_auth_methods_supported === undefined
      ? provider?.tokenEndpointAuthMethod
      : undefined) ??
    supportedMethod(authorizationServer, ['client_secret_basic', 'client_secret_post'])
  return { source: 'static', clientId, clientSecret, tokenEndpointAuthMethod }
}

/**
 * Sees to it that a configured client is used at one issuer alone (SPEC 21), or an MCP server could have its
 * secret sent anywhere. That is the issuer of the configuration, or the origin of its endpoints; without either,
 * the first one that the MCP server names, which is remembered.
 *
 * @throws McpDcrError `issuer_mismatch` where the MCP server names another by now, and what the store throws
 */
export async function bindStaticClient(
  { records: { registrations }, clock }: OAuthContext,
  { server, discovered, baseUrl }: ClientRequest,
): Promise<void> {
  const { clientId, issuer: pinned, tokenUrl } = server.oauth
  if (clientId === undefined || pinned !== undefined || tokenUrl !== undefined) return
  const { issuer } = discovered.authorizationServer
  const key = registrationKey(server.name, 'configured', clientId)
  const held = await registrations.get(key)
  if (held?.value.serverUrl === server.url) {
    assertBound(held.value, issuer)
    return
  }
  const binding: Registration = {
    status: 'configured',
    server: server.name,
    serverUrl: server.url,
    issuer,
    redirectUri: redirectUriOf(baseUrl),
    createdAt: clock(),
    clientId,
  }
  if (await registrations.save(key, held, binding)) return
  const other = await registrations.get(key)
  if (other !== undefined) assertBound(other.value, issuer)
}

function assertBound({ issuer, server }: Registration, discovered: string): void {
  if (issuer === discovered) return
  throw new McpDcrError(
    'issuer_mismatch',
    `The MCP server "${server}" names the issuer ${quoteUntrusted(discovered)}, but its configured client was first used at ${quoteUntrusted(issuer)}.`,
    {
      server,
      fix: 'If the provider has moved, and the client is registered at the new issuer, set oauthConfig.issuer of this server to it.',
    },
  )
}
