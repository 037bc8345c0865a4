import { McpDcrError, quoteUntrusted } from '../errors.js'
import { isBearerToken } from './bearer-token.js'
import type { AuthorizationServerMetadata, Registration, TokenEndpointAuthMethod } from '../model.js'
import {
  errorResponse,
  jsonResponse,
  numberOf,
  readJsonObject,
  scopeString,
  withoutEmpty,
} from './read-json-response.js'
import { supportedMethod } from './registration-request.js'

/** What a registration answer yields. */
export type RegisteredClient = Required<Pick<Registration, 'clientId' | 'tokenEndpointAuthMethod'>> &
  Pick<
    Registration,
    | 'clientSecret'
    | 'clientIdIssuedAt'
    | 'registeredScope'
    | 'clientSecretExpiresAt'
    | 'registrationAccessToken'
    | 'registrationClientUri'
  >

const MEMBERS = [
  'client_id',
  'client_secret',
  'client_id_issued_at',
  'client_secret_expires_at',
  'token_endpoint_auth_method',
  'scope',
  'registration_access_token',
  'registration_client_uri',
]

/**
 * Makes a registration answer readable to openid-client, which demands exactly 201 and a numeric
 * `client_secret_expires_at` beside any secret: servers send 200, null, "", or nothing.
 *
 * @param sent the members of the request
 */
export async function normalizeRegistrationResponse(
  response: Response,
  sent: readonly string[],
): Promise<Response> {
  const body = await readJsonObject(response)
  if (body === undefined) return response
  const error = errorResponse(body, response.status)
  if (error !== undefined) return error
  if (response.status !== 200 && response.status !== 201) return response
  const client = withoutEmpty(body)
  const expiresAt = numberOf(client['client_secret_expires_at'])
  const scope = scopeString(client['scope'])
  return jsonResponse(
    { ...client, scope, client_secret_expires_at: expiresAt > 0 ? expiresAt : 0 },
    [...MEMBERS, ...sent],
    201,
  )
}

/**
 * Reads the registered client. What the server returned is what holds, the authentication method above all
 * (SPEC 18).
 *
 * @throws McpDcrError `registration_response_invalid`
 */
export function readRegisteredClient(
  client: Readonly<Record<string, unknown>>,
  requestedMethod: string,
  authorizationServer: AuthorizationServerMetadata,
): RegisteredClient {
  const clientId = client['client_id']
  assertClientId(clientId)
  const clientSecret = string(client['client_secret'])
  const method =
    client['token_endpoint_auth_method'] ?? impliedMethod(clientSecret, requestedMethod, authorizationServer)
  assertMethod(method, clientSecret)
  const issuedAt = numberOf(client['client_id_issued_at'])
  return {
    clientId,
    tokenEndpointAuthMethod: method,
    ...(issuedAt > 0 && { clientIdIssuedAt: issuedAt }),
    ...(typeof client['scope'] === 'string' && { registeredScope: client['scope'] }),
    ...(clientSecret !== undefined && {
      clientSecret,
      clientSecretExpiresAt: Number(client['client_secret_expires_at']),
    }),
    ...managementOf(client, authorizationServer),
  }
}

/** What a client is managed by (SPEC 41): of use only together, and only where the token stays with those it is for. */
export function managementOf(
  client: Readonly<Record<string, unknown>>,
  { issuer, registration_endpoint }: AuthorizationServerMetadata,
): Pick<Registration, 'registrationAccessToken' | 'registrationClientUri'> {
  const registrationAccessToken = client['registration_access_token']
  const registrationClientUri = client['registration_client_uri']
  const isUsable =
    isBearerToken(registrationAccessToken) &&
    isManagementUri(registrationClientUri, [issuer, registration_endpoint])
  return isUsable ? { registrationAccessToken, registrationClientUri } : {}
}

/** RFC 7591 §2 says `client_secret_basic` where the answer omits the method; servers that do support another. */
function impliedMethod(
  clientSecret: string | undefined,
  requestedMethod: string,
  authorizationServer: AuthorizationServerMetadata,
): string {
  if (clientSecret === undefined) return 'none'
  if (requestedMethod !== 'none') return requestedMethod
  return supportedMethod(authorizationServer, ['client_secret_basic', 'client_secret_post'])
}

/** RFC 6749 §2.2 and appendix A.1 want visible ASCII; servers are wider, but it goes into URLs, keys and logs. */
function assertClientId(clientId: unknown): asserts clientId is string {
  if (typeof clientId === 'string' && /^[^\p{Cc}\p{Cs}]{1,8192}$/u.test(clientId)) return
  throw new McpDcrError(
    'registration_response_invalid',
    'The registered client has an id that no URL can carry: with control characters, or longer than 8192.',
    { fix: 'It is a fault of the provider. Register a client by hand and set oauthConfig.clientId.' },
  )
}

function assertMethod(
  method: unknown,
  clientSecret: string | undefined,
): asserts method is TokenEndpointAuthMethod {
  if (method !== 'none' && method !== 'client_secret_basic' && method !== 'client_secret_post') {
    throw new McpDcrError(
      'registration_response_invalid',
      `The registered client is to authenticate by ${quoteUntrusted(method)}, which is not supported.`,
      {
        fix: 'Set oauthConfig.tokenEndpointAuthMethod, or register a client by hand and set oauthConfig.clientId.',
      },
    )
  }
  if (method !== 'none' && clientSecret === undefined) {
    throw new McpDcrError(
      'registration_response_invalid',
      `The registered client is to authenticate by ${method}, but the answer holds no client_secret.`,
      {
        fix: 'Set oauthConfig.tokenEndpointAuthMethod to none, or register a client by hand and set oauthConfig.clientId.',
      },
    )
  }
}

/**
 * Whether a registration can be managed at this URI: its token goes to an origin of the issuer alone (SPEC 41).
 *
 * @param own URLs of the issuer
 */
export function isManagementUri(uri: unknown, own: readonly (string | undefined)[]): uri is string {
  if (typeof uri !== 'string' || !URL.canParse(uri)) return false
  return own.some((url) => url !== undefined && new URL(url).origin === new URL(uri).origin)
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
