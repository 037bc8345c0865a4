import * as client from 'openid-client'
import type { AuthorizationServer } from './authorization-server.js'
import { createPerson, type SignInOptions } from './person.js'

export const REDIRECT_URI = 'http://localhost:3999/callback'

/** A plain openid-client, registered (RFC 7591) at this authorization server. */
export function registerClient(
  { issuer }: AuthorizationServer,
  metadata: Partial<client.ClientMetadata> = {},
  options: client.DynamicClientRegistrationRequestOptions = {},
): Promise<client.Configuration> {
  return client.dynamicClientRegistration(
    new URL(issuer),
    {
      client_name: 'A plain client',
      application_type: 'native',
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      ...metadata,
    },
    metadata.token_endpoint_auth_method === 'client_secret_basic' ? undefined : client.None(),
    { execute: [client.allowInsecureRequests], algorithm: 'oauth2', ...options },
  )
}

/** Signs a person in by the authorization code flow with PKCE, and returns the tokens. */
export async function signInWith(
  config: client.Configuration,
  parameters: { resource: string; scope?: string },
  { person = createPerson(), ...options }: SignInOptions & { person?: ReturnType<typeof createPerson> } = {},
) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...parameters,
  })
  const page = await person.signIn(url, { ...options, until: (it) => it.href.startsWith(REDIRECT_URI) })
  return client.authorizationCodeGrant(
    config,
    new URL(page.location ?? page.url),
    { pkceCodeVerifier, expectedState },
    { resource: parameters.resource },
  )
}
