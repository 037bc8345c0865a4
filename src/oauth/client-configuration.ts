import type * as openid from 'openid-client'
import type { JWK } from 'jose'
import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, OAuthClient, PrivateJwk } from '../model.js'
import { openidClient } from '../modules.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'

/**
 * Sends a request for openid-client through the guarded fetch, and makes its answer readable to it.
 * openid-client's signal is left out: its 30 seconds would cut a longer `timeout` short, which bounds the
 * guarded fetch already.
 */
export function openidFetch(
  fetch: GuardedFetch,
  reach: Reach,
  normalize: (response: Response) => Promise<Response>,
): openid.CustomFetch {
  return async (url, { method, headers, body }) => {
    const init: RequestInit = { method, headers: new Headers(headers) }
    if (body !== undefined) init.body = body as NonNullable<RequestInit['body']>
    return normalize(await fetch(url, init, reach))
  }
}

/**
 * openid-client's Configuration for a client and its issuer. The client authentication is chosen here:
 * by default openid-client would use `client_secret_post` whatever was registered (SPEC 18).
 */
export async function clientConfiguration(
  authorizationServer: AuthorizationServerMetadata,
  client: OAuthClient,
  fetch: openid.CustomFetch,
): Promise<openid.Configuration> {
  const openid = await openidClient()
  const configuration = new openid.Configuration(
    structuredClone(authorizationServer) as openid.ServerMetadata,
    client.clientId,
    undefined,
    await clientAuthentication(client),
  )
  configuration[openid.customFetch] = fetch
  // http is refused by the guarded fetch, everywhere but on loopback.
  openid.allowInsecureRequests(configuration)
  return configuration
}

async function clientAuthentication(client: OAuthClient): Promise<openid.ClientAuth> {
  const { tokenEndpointAuthMethod, clientSecret, clientPrivateKey } = client
  const openid = await openidClient()
  switch (tokenEndpointAuthMethod) {
    case 'private_key_jwt':
      return openid.PrivateKeyJwt(await importPrivateKey(clientPrivateKey))
    case 'client_secret_basic':
      return clientSecretBasic(clientSecret ?? '')
    case 'client_secret_post':
      return openid.ClientSecretPost(clientSecret)
    case 'none':
      return openid.None()
  }
}

/** Options are checked to hold a key; that it is one shows here. */
async function importPrivateKey(jwk: PrivateJwk | undefined): Promise<openid.PrivateKey> {
  try {
    const { importJWK } = await import('jose/key/import')
    const key = (await importJWK(jwk as JWK)) as openid.CryptoKey
    return jwk?.kid === undefined ? { key } : { key, kid: jwk.kid }
  } catch {
    // Without the cause, which may quote the key.
    throw new McpDcrError('client_invalid', 'The configured private key cannot be used.', {
      fix: 'Set oauthConfig.clientPrivateKey to a private JWK with kty, alg and the members of its kind (RFC 7517).',
    })
  }
}

/**
 * RFC 6749 §2.3.1, form-encoded as the URL Standard does it: `-`, `.` and `_` stay as they are. openid-client
 * encodes these too, and the many servers that never decode would then see another client id.
 */
function clientSecretBasic(clientSecret: string): openid.ClientAuth {
  return (_server, client, _body, headers) => {
    const credentials = [client.client_id, clientSecret].map(formEncode).join(':')
    headers.set('authorization', `Basic ${btoa(credentials)}`)
  }
}

function formEncode(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1)
}
