import type { AuthorizationServerMetadata, Server, TokenEndpointAuthMethod } from '../model.js'
import { withoutEmpty } from './read-json-response.js'
import { isLoopbackUrl } from '../security/guarded-fetch.js'

/** What the client metadata is made of, for registration and metadata document alike. */
export interface ClientDescription {
  readonly clientName: string
  readonly redirectUri: string
}

const METHODS: readonly TokenEndpointAuthMethod[] = ['none', 'client_secret_basic', 'client_secret_post']

/** The registration request (RFC 7591 §3.1; SPEC 17). Unset members are omitted, never null. */
export function registrationRequest(
  server: Server,
  authorizationServer: AuthorizationServerMetadata,
  { clientName, redirectUri }: ClientDescription,
  scope: string | undefined,
  method: string = methodToAskFor(server, authorizationServer),
): Record<string, unknown> {
  const { clientMetadata, softwareStatement } = server.oauth
  return {
    ...withoutEmpty(clientMetadata),
    ...commonMetadata(clientMetadata['client_name'] ?? clientName, redirectUri),
    token_endpoint_auth_method: method,
    ...(scope !== undefined && { scope }),
    ...(softwareStatement !== undefined && { software_statement: softwareStatement }),
  }
}

/** The client metadata document (CIMD; SPEC 16). It holds no secret, so the client is public. */
export function clientMetadataDocument(
  clientId: string,
  { clientName, redirectUri }: ClientDescription,
): Record<string, unknown> {
  return {
    client_id: clientId,
    ...commonMetadata(clientName, redirectUri),
    token_endpoint_auth_method: 'none',
  }
}

function commonMetadata(clientName: unknown, redirectUri: string): Record<string, unknown> {
  return {
    client_name: clientName,
    application_type: isLoopbackUrl(redirectUri) ? 'native' : 'web',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }
}

/** Another method that the server supports, where it has refused this one; undefined where there is none. */
export function otherMethod(
  { oauth }: Server,
  { token_endpoint_auth_methods_supported: supported = ['client_secret_basic'] }: AuthorizationServerMetadata,
  refused: unknown,
): TokenEndpointAuthMethod | undefined {
  if (oauth.tokenEndpointAuthMethod !== undefined) return undefined
  return METHODS.find((method) => method !== refused && supported.includes(method))
}

/** The method that is asked for: the configured one, or the first of ours that the server supports. */
export function methodToAskFor(server: Server, authorizationServer: AuthorizationServerMetadata): string {
  return server.oauth.tokenEndpointAuthMethod ?? supportedMethod(authorizationServer, METHODS)
}

/** The first of these methods that the server supports. Where it does not say, RFC 8414 §2 means `client_secret_basic`. */
export function supportedMethod(
  { token_endpoint_auth_methods_supported: supported = ['client_secret_basic'] }: AuthorizationServerMetadata,
  preferred: readonly TokenEndpointAuthMethod[],
): TokenEndpointAuthMethod {
  return preferred.find((method) => supported.includes(method)) ?? 'client_secret_basic'
}
