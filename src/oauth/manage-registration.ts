import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { assertEndpointUrl } from '../security/guarded-fetch.js'
import type { Versioned } from '../store/records.js'
import { isBearerToken } from './bearer-token.js'
import type { OAuthContext } from './context.js'
import { readJsonObject, scopeString, withoutEmpty } from './read-json-response.js'
import { isManaged } from './registration-state.js'

type Metadata = Readonly<Record<string, unknown>>

/** A registration as it is held after a request, and what the server says of it. */
export interface ManagedRegistration {
  readonly held: Versioned<Registration>
  /** The client metadata that the server returned, without anything secret. */
  readonly remote: Metadata
}

/** What a response holds beside client metadata (RFC 7591 §3.2.1), and a request must not (RFC 7592 §2.2). */
const NOT_METADATA = [
  'client_secret', 'client_secret_expires_at', 'client_id_issued_at', 'registration_access_token', 'registration_client_uri',
] // prettier-ignore

/**
 * Reads a client at its issuer (RFC 7592 §2.1). A secret or registration access token that comes back replaces
 * the held one before this resolves (SPEC 43). The caller holds the registration's lease.
 *
 * @throws McpDcrError `management_not_supported`, `registration_gone`, `management_failed`
 */
export async function readRegistration(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
): Promise<ManagedRegistration> {
  return absorb(context, key, held, await request(context, held.value, 'GET'), {})
}

/**
 * Replaces the client's metadata at its issuer (RFC 7592 §2.2), a full replacement: what the server returned
 * last, and these changes; one of null removes a member. The caller holds the registration's lease.
 *
 * @param options.remember whether the changes are the configuration's, by which later ones are noticed. Defaults to true.
 * @throws McpDcrError `management_not_supported`, `registration_gone`, `management_failed`; nothing was saved then
 */
export async function replaceRegistration(
  context: OAuthContext,
  key: string,
  before: Versioned<Registration>,
  changes: Metadata,
  { remember = true }: { remember?: boolean } = {},
): Promise<ManagedRegistration> {
  const { held, remote } = await readIfAllowed(context, key, before)
  const { clientId, clientSecret, tokenEndpointAuthMethod } = held.value
  const metadata: Record<string, unknown> = {
    ...held.value.metadata,
    ...remote,
    token_endpoint_auth_method: tokenEndpointAuthMethod,
    ...changes,
  }
  const body = withoutEmpty({ ...metadata, client_id: clientId, client_secret: clientSecret })
  const response = await request(context, held.value, 'PUT', body)
  // What was asked for, not what the server made of it: a later change of ours is told by that.
  const remembered = remember ? withoutEmpty({ ...held.value.metadata, ...changes }) : {}
  const scope = typeof changes['scope'] === 'string' ? { scope: changes['scope'] } : {}
  return absorb(context, key, held, response, { ...(remember && { metadata: remembered }), ...scope })
}

/**
 * Deletes the client at its issuer (RFC 7592 §2.3). One that is not there any more counts as deleted.
 *
 * @throws McpDcrError `management_not_supported`, `management_failed`
 */
export async function deleteRegistration(context: OAuthContext, registration: Registration): Promise<void> {
  try {
    await request(context, registration, 'DELETE')
  } catch (error) {
    if (!(error instanceof McpDcrError && error.code === 'registration_gone')) throw error
  }
}

/** A server that takes PUT but no GET is known by what was sent to it. */
async function readIfAllowed(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
): Promise<ManagedRegistration> {
  try {
    return await readRegistration(context, key, held)
  } catch (error) {
    const isRefused = error instanceof McpDcrError && error.code === 'management_failed' && !isPassing(error)
    if (isRefused) return { held, remote: {} }
    throw error
  }
}

async function request(
  context: OAuthContext,
  registration: Registration,
  method: 'GET' | 'PUT' | 'DELETE',
  body?: Metadata,
): Promise<Response> {
  const { server, issuer } = registration
  if (!isManaged(registration)) {
    throw new McpDcrError(
      'management_not_supported',
      `${quoteUntrusted(issuer)} gave no access to this registration.`,
      {
        server,
        fix: 'It can be changed in the provider’s dashboard alone. Forgetting the server deletes it here.',
      },
    )
  }
  const url = assertEndpointUrl(registration.registrationClientUri, 'registration_client_uri')
  let response: Response
  try {
    response = await context.fetch(
      url,
      {
        method,
        headers: {
          accept: 'application/json',
          authorization: `Bearer ${registration.registrationAccessToken}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      },
      context.reachOfRegistration(registration),
    )
  } catch (cause) {
    if (!(cause instanceof McpDcrError)) throw cause
    throw managementFailed(registration, method, cause.message, true, cause)
  }
  if (response.ok) return response
  await refuse(response, registration, method)
  return response
}

/** RFC 7592 §3, and what servers say instead. */
async function refuse(response: Response, registration: Registration, method: string): Promise<never> {
  const { status } = response
  // 401: the token or the client is gone (RFC 7592 §2.1); 404 and 410 say so in other words.
  if (status === 401 || status === 404 || status === 410) {
    throw new McpDcrError(
      'registration_gone',
      `${quoteUntrusted(registration.issuer)} does not know this registration any more (status ${status}).`,
      { server: registration.server, fix: 'The next sign-in registers again.' },
    )
  }
  const body = (await readJsonObject(response)) ?? {}
  const said = [body['error'], body['error_description']]
    .filter((text) => typeof text === 'string' && text !== '')
    .map((text) => quoteUntrusted(withoutSecrets(String(text), registration)))
    .join(': ')
  const mayPass = status >= 500 || status === 429 || status === 408
  throw managementFailed(registration, method, `status ${status}${said === '' ? '' : ` (${said})`}`, mayPass)
}

const passing = new WeakSet<object>()

/** Whether trying again later may help. */
export function isPassing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && passing.has(error)
}

function managementFailed(
  { server, issuer }: Registration,
  method: string,
  why: string,
  mayPass: boolean,
  cause?: unknown,
): McpDcrError {
  const error = new McpDcrError(
    'management_failed',
    `${method} of the registration at ${quoteUntrusted(issuer)} failed: ${why.replace(/\.$/, '')}.`,
    {
      server,
      cause,
      fix: mayPass
        ? 'Try again in a moment; the registration is kept.'
        : 'Change what the message names, or change the client in the provider’s dashboard; the registration is kept.',
    },
  )
  if (mayPass) passing.add(error)
  return error
}

/** Saves what a response changes of what is held, at once: a rotated token that is lost is lost for good. */
async function absorb(
  { records: { registrations }, clock }: OAuthContext,
  key: string,
  held: Versioned<Registration>,
  response: Response,
  changes: Partial<Registration>,
): Promise<ManagedRegistration> {
  const body = withoutEmpty((await readJsonObject(response)) ?? {})
  const { value, version } = held
  if (body['client_id'] !== undefined && body['client_id'] !== value.clientId) {
    throw managementFailed(value, 'Management', 'the answer is about another client', false)
  }
  const remote = Object.fromEntries(Object.entries(body).filter(([name]) => !NOT_METADATA.includes(name)))
  const answered = changesOf(body, value)
  const isNewSecret =
    (answered.clientSecret ?? value.clientSecret) !== value.clientSecret ||
    (answered.clientSecretExpiresAt ?? value.clientSecretExpiresAt) !== value.clientSecretExpiresAt
  const changed: Registration = {
    ...value,
    ...answered,
    ...(isNewSecret && { clientSecretObtainedAt: clock() }),
    ...changes,
  }
  if (JSON.stringify(changed) === JSON.stringify(value)) return { held, remote }
  if (!(await registrations.save(key, version, changed))) {
    throw new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
      server: value.server,
      fix: 'Try again.',
    })
  }
  const saved = await registrations.get(key)
  return { held: saved ?? { value: changed, version }, remote }
}

function changesOf(
  body: Metadata,
  { registrationClientUri, issuer, clientSecret }: Registration,
): Partial<Registration> {
  const secret = body['client_secret']
  const token = body['registration_access_token']
  const uri = body['registration_client_uri']
  const expiresAt = Number(body['client_secret_expires_at'])
  const method = body['token_endpoint_auth_method']
  const scope = scopeString(body['scope'])
  return {
    ...(typeof secret === 'string' && { clientSecret: secret }),
    ...(scope !== undefined && { registeredScope: scope }),
    ...(expiresAt >= 0 &&
      body['client_secret_expires_at'] !== undefined && { clientSecretExpiresAt: expiresAt }),
    ...(isBearerToken(token) && { registrationAccessToken: token }),
    ...(typeof uri === 'string' &&
      [issuer, registrationClientUri].some((own) => own !== undefined && isSameOrigin(own, uri)) && {
        registrationClientUri: uri,
      }),
    ...((method === 'none' ||
      ((method === 'client_secret_basic' || method === 'client_secret_post') &&
        (clientSecret ?? secret) !== undefined)) && { tokenEndpointAuthMethod: method }),
  }
}

function isSameOrigin(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin
}

function withoutSecrets(text: string, { clientSecret, registrationAccessToken }: Registration): string {
  return [clientSecret, registrationAccessToken].reduce<string>(
    (shown, secret) => (secret === undefined ? shown : shown.replaceAll(secret, '…')),
    text,
  )
}
