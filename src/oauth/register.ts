import * as openid from 'openid-client'
import { McpDcrError, quoteUntrusted, type ErrorCode } from '../errors.js'
import type { AuthorizationServerMetadata, Server } from '../model.js'
import { assertEndpointUrl, type GuardedFetch, type Reach } from '../security/guarded-fetch.js'
import { openidFetch } from './client-configuration.js'
import { nameServer } from './name-server.js'
import { registrationInstructions } from './registration-instructions.js'
import { normalizeRegistrationResponse } from './registration-response.js'
import { unwrapError } from './unwrap-error.js'

/** What to register, and where. */
export interface RegisterRequest {
  readonly server: Server
  readonly authorizationServer: AuthorizationServerMetadata
  readonly redirectUri: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly initialAccessToken: string | undefined
}

/**
 * Registers a client (RFC 7591 §3).
 *
 * @returns what the server answered of what is used, and of the members that it was sent; see readRegisteredClient
 * @throws McpDcrError `registration_endpoint_not_found`, `invalid_redirect_uri`, `invalid_client_metadata`,
 * `invalid_software_statement`, `unapproved_software_statement`, `registration_failed`, `registration_response_invalid`.
 */
export async function register(
  request: RegisterRequest,
  fetch: GuardedFetch,
  reach: Reach,
): Promise<Readonly<Record<string, unknown>>> {
  const { server, authorizationServer, redirectUri, metadata, initialAccessToken } = request
  if (authorizationServer.registration_endpoint === undefined) {
    throw new McpDcrError(
      'registration_endpoint_not_found',
      `${quoteUntrusted(authorizationServer.issuer)} does not offer dynamic client registration.`,
      { server: server.name, fix: registrationInstructions(server, redirectUri) },
    )
  }
  try {
    assertEndpointUrl(authorizationServer.registration_endpoint, 'registration_endpoint')
    const configuration = await openid.dynamicClientRegistration(
      wellKnownUrl(authorizationServer),
      metadata as Partial<openid.ClientMetadata>,
      undefined,
      {
        ...(initialAccessToken !== undefined && { initialAccessToken }),
        execute: [openid.allowInsecureRequests],
        [openid.customFetch]: answerDiscovery(authorizationServer, Object.keys(metadata), fetch, reach),
      },
    )
    return configuration.clientMetadata()
  } catch (error) {
    throw nameServer(registrationError(error, request), server)
  }
}

function wellKnownUrl({ issuer }: AuthorizationServerMetadata): URL {
  return new URL('/.well-known/oauth-authorization-server', issuer)
}

/**
 * openid-client always discovers before it registers, and judges the issuer less strictly than RFC 8414
 * §3.3 wants: it is given the metadata that was validated already, so one discovery serves both.
 */
function answerDiscovery(
  metadata: AuthorizationServerMetadata,
  sent: readonly string[],
  fetch: GuardedFetch,
  reach: Reach,
): openid.CustomFetch {
  const send = openidFetch(fetch, reach, (response) => normalizeRegistrationResponse(response, sent))
  return (url, options) =>
    options.method === 'GET' ? Promise.resolve(Response.json(metadata)) : send(url, options)
}

/** RFC 7591 §3.2.2. */
const CODES: ReadonlyMap<string | undefined, ErrorCode> = new Map([
  ['invalid_redirect_uri', 'invalid_redirect_uri'],
  ['invalid_client_metadata', 'invalid_client_metadata'],
  ['invalid_software_statement', 'invalid_software_statement'],
  ['unapproved_software_statement', 'unapproved_software_statement'],
])

function registrationError(
  thrown: unknown,
  { server, redirectUri, initialAccessToken }: RegisterRequest,
): McpDcrError {
  const sent = [initialAccessToken, server.oauth.softwareStatement]
  const { error, description, status = 0, transient, cause } = unwrapError(thrown, sent)
  if (cause instanceof McpDcrError) return cause
  const refused = status >= 400
  const code = CODES.get(error) ?? (refused ? 'registration_failed' : 'registration_response_invalid')
  const said = [error, description].filter((text) => text !== undefined).join(': ')
  const answered = refused ? `answered with status ${status}` : 'gave an answer that cannot be used'
  const failure = new McpDcrError(
    code,
    `The registration endpoint ${answered}${said === '' ? '' : ` (${said})`}.`,
    {
      server: server.name,
      cause,
      fix:
        FIXES[code] ?? (transient ? 'Try again in a moment.' : registrationInstructions(server, redirectUri)),
    },
  )
  if (!refused || status >= 500 || status === 408) unanswered.add(failure)
  return failure
}

const unanswered = new WeakSet<McpDcrError>()

/** Whether there may be a client all the same: a proxy may have answered in the server's place, or the answer cannot be read. */
export function isUnanswered(error: McpDcrError): boolean {
  return unanswered.has(error)
}

const FIXES: Partial<Record<ErrorCode, string>> = {
  invalid_client_metadata:
    'Adjust oauthConfig.clientMetadata, oauthConfig.scopes or oauthConfig.tokenEndpointAuthMethod of this server.',
  invalid_software_statement: 'Correct oauthConfig.softwareStatement of this server.',
  unapproved_software_statement:
    'Ask the provider to approve the software statement, or set another in oauthConfig.softwareStatement.',
}
