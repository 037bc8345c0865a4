import type * as openid from 'openid-client'
import { McpDcrError, quoteUntrusted, type ErrorCode } from '../errors.js'
import type { AuthorizationServerMetadata, Server } from '../model.js'
import { openidClient } from '../modules.js'
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
  let answer: Response | undefined
  const normalize = (response: Response): Promise<Response> => {
    answer = response
    return normalizeRegistrationResponse(response, Object.keys(metadata))
  }
  try {
    assertEndpointUrl(authorizationServer.registration_endpoint, 'registration_endpoint')
    const openid = await openidClient()
    const configuration = await openid.dynamicClientRegistration(
      wellKnownUrl(authorizationServer),
      metadata as Partial<openid.ClientMetadata>,
      undefined,
      {
        ...(initialAccessToken !== undefined && { initialAccessToken }),
        execute: [openid.allowInsecureRequests],
        [openid.customFetch]: answerDiscovery(authorizationServer, openidFetch(fetch, reach, normalize)),
      },
    )
    return configuration.clientMetadata()
  } catch (error) {
    throw registrationError(error, request, answer)
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
  send: openid.CustomFetch,
): openid.CustomFetch {
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
  answer: Response | undefined,
): unknown {
  const sent = [initialAccessToken, server.oauth.softwareStatement]
  const { error, description, status = 0, transient, cause } = unwrapError(thrown, sent)
  if (cause instanceof McpDcrError) {
    return withFailure(nameServer(cause, server), NO_ANSWER.has(cause.code), answer)
  }
  const refused = status >= 400
  const code = CODES.get(error) ?? (refused ? 'registration_failed' : 'registration_response_invalid')
  const said = [error, description].filter((text) => text !== undefined).join(': ')
  const answered = refused ? `answered with status ${status}` : 'gave an answer that cannot be used'
  const failed = new McpDcrError(
    code,
    `The registration endpoint ${answered}${said === '' ? '' : ` (${said})`}.`,
    {
      server: server.name,
      cause,
      fix:
        FIXES[code] ?? (transient ? 'Try again in a moment.' : registrationInstructions(server, redirectUri)),
    },
  )
  return withFailure(failed, !refused || status >= 500 || status === 408, answer)
}

const NO_ANSWER: ReadonlySet<ErrorCode> = new Set(['request_failed', 'request_timeout', 'response_too_large'])

/** How a registration request has failed. */
export interface RegistrationFailure {
  /** There may be a client all the same: a proxy may have answered in the server's place, or the answer cannot be read. */
  readonly unanswered: boolean
  /** A 429: it was refused whatever it asked for. */
  readonly busy: boolean
  /** The `Retry-After` header of a 429 or 503. */
  readonly retryAfter: string | undefined
}

const failures = new WeakMap<object, RegistrationFailure>()

function withFailure(error: unknown, unanswered: boolean, answer: Response | undefined): unknown {
  const { status, headers } = answer ?? {}
  const retryAfter = status === 429 || status === 503 ? headers?.get('retry-after') : undefined
  failures.set(error as object, { unanswered, busy: status === 429, retryAfter: retryAfter ?? undefined })
  return error
}

/** Undefined where an error is not that of a request. */
export function failureOf(error: unknown): RegistrationFailure | undefined {
  return failures.get(error as object)
}

const FIXES: Partial<Record<ErrorCode, string>> = {
  invalid_client_metadata:
    'Adjust oauthConfig.clientMetadata, oauthConfig.scopes or oauthConfig.tokenEndpointAuthMethod of this server.',
  invalid_software_statement: 'Correct oauthConfig.softwareStatement of this server.',
  unapproved_software_statement:
    'Ask the provider to approve the software statement, or set another in oauthConfig.softwareStatement.',
}
