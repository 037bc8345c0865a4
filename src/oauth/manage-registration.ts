import { McpDcrError, quoteUntrusted } from '../errors.js'
import { omit } from '../json-object.js'
import type { Registration } from '../model.js'
import { assertEndpointUrl } from '../security/guarded-fetch.js'
import type { Versioned } from '../store/records.js'
import { isBearerToken } from './bearer-token.js'
import type { OAuthContext } from './context.js'
import { numberOf, readJsonObject, scopeString, withoutEmpty } from './read-json-response.js'
import { isManagementUri } from './registration-response.js'
import { isManaged, sendable, substitutions, toKeep, type Metadata } from './registration-state.js'
import { secretExpiry } from './secret-expiry.js'

/** A registration as it is held after a request, and what the server says of it. */
export interface ManagedRegistration {
  readonly held: Versioned<Registration>
  /** The client metadata that the server returned, without anything secret. */
  readonly remote: Metadata
}

/** What a response holds beside client metadata (RFC 7591 §3.2.1), and a request must not (RFC 7592 §2.2). */
const NOT_METADATA = [
  'client_secret', 'client_secret_expires_at', 'client_id_issued_at', 'registration_access_token', 'registration_client_uri',
  'software_statement',
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
  return absorb(context, key, held, await request(context, held.value, 'GET'))
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
  const { held, remote, wasRead } = await readIfAllowed(context, key, before)
  const { clientId, clientSecret, tokenEndpointAuthMethod } = held.value
  const body = withoutEmpty({
    ...sendable(held.value),
    ...remote,
    token_endpoint_auth_method: tokenEndpointAuthMethod,
    ...changes,
    client_id: clientId,
    client_secret: clientSecret,
  })
  const response = await request(context, held.value, 'PUT', body).catch((error: unknown) => {
    // It was read a moment ago: it is there, but not to be changed.
    if (isGone(error) && wasRead) throw managementFailed(held.value, 'PUT', 'it is refused', 'refused')
    throw error
  })
  return absorb(context, key, held, response, changes, remember)
}

/**
 * Deletes the client at its issuer (RFC 7592 §2.3). One that is not there any more counts as deleted; a 404 may
 * mean that clients are not deleted there, so the issuer is asked once more.
 *
 * @throws McpDcrError `management_not_supported`, `management_failed`
 */
export async function deleteRegistration(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
): Promise<void> {
  await requestDeletion(context, held.value, () => readRegistration(context, key, held))
}

/** @param read asks for the client, to see whether it is there still */
async function requestDeletion(
  context: OAuthContext,
  registration: Registration,
  read: () => Promise<unknown>,
): Promise<void> {
  try {
    await request(context, registration, 'DELETE')
    return
  } catch (error) {
    if (!isGone(error)) throw error
  }
  try {
    await read()
  } catch (error) {
    if (isGone(error)) return
    throw error
  }
  throw managementFailed(registration, 'DELETE', 'the client is there still', 'refused')
}

/**
 * Deletes a client at its issuer, where that lets us, as {@link deleteRegistration} does; what cannot be deleted is
 * logged, and not used any more here.
 *
 * @returns false where trying again later may help
 */
export async function deleteQuietly(context: OAuthContext, registration: Registration): Promise<boolean> {
  const { server, clientId } = registration
  if (!isManaged(registration)) {
    if (clientId !== undefined)
      context.logger.warn(
        'a client stays at its issuer, which has no way to delete it; it is not used any more',
        {
          server,
          clientId,
        },
      )
    return true
  }
  try {
    await requestDeletion(context, registration, () => request(context, registration, 'GET'))
    return true
  } catch (error) {
    context.logger.warn('a client could not be deleted at its issuer; it is not used any more', {
      server,
      clientId,
      error: error instanceof McpDcrError ? `${error.code}: ${error.message}` : undefined,
    })
    return !(error instanceof McpDcrError && isPassing(error))
  }
}

function isGone(error: unknown): boolean {
  return error instanceof McpDcrError && error.code === 'registration_gone'
}

/** A server that takes PUT but no GET is known by what was sent to it. */
async function readIfAllowed(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
): Promise<ManagedRegistration & { wasRead: boolean }> {
  try {
    return { ...(await readRegistration(context, key, held)), wasRead: true }
  } catch (error) {
    if (failures.get(error as object) === 'refused') return { held, remote: {}, wasRead: false }
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
    // A redirect, or an answer without end, would come again.
    const mayPass = cause.code === 'request_failed' || cause.code === 'request_timeout'
    throw managementFailed(registration, method, cause.message, mayPass ? 'passing' : 'refused', cause)
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
      {
        server: registration.server,
        fix: 'Renew the registration, which registers again; a sign-in that has to change it does so by itself.',
      },
    )
  }
  const body = (await readJsonObject(response)) ?? {}
  const said = [body['error'], body['error_description']]
    .filter((text) => typeof text === 'string' && text !== '')
    .map((text) => quoteUntrusted(withoutSecrets(String(text), registration)))
    .join(': ')
  const mayPass = (status >= 500 && status !== 501) || status === 429 || status === 408
  const why = `status ${status}${said === '' ? '' : ` (${said})`}`
  throw managementFailed(registration, method, why, mayPass ? 'passing' : 'refused')
}

/** `passing`: trying again later may help. `refused`: the server does not want this request. `unusable`: its answer. */
type Failure = 'passing' | 'refused' | 'unusable'

const failures = new WeakMap<object, Failure>()

/** Whether trying again later may help. */
export function isPassing(error: McpDcrError): boolean {
  return failures.get(error) === 'passing'
}

function managementFailed(
  { server, issuer }: Registration,
  method: string,
  why: string,
  failure: Failure,
  cause?: unknown,
): McpDcrError {
  const error = new McpDcrError(
    'management_failed',
    `${method} of the registration at ${quoteUntrusted(issuer)} failed: ${why.replace(/\.$/, '')}.`,
    {
      server,
      cause,
      fix:
        failure === 'passing'
          ? 'Try again in a moment; the registration is kept.'
          : 'Change what the message names, or change the client in the provider’s dashboard; the registration is kept.',
    },
  )
  failures.set(error, failure)
  return error
}

/** Other callers change a registration under its lease: a save loses only against work that outlasted its own. */
const MAX_SAVES = 5

/**
 * Saves what a response changes of what is held, at once: a rotated token that is lost is lost for good.
 *
 * @param changes what was asked for
 * @param remember whether a later change of the configuration is to be told by that
 */
async function absorb(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
  response: Response,
  changes: Metadata = {},
  remember = false,
): Promise<ManagedRegistration> {
  const { registrations } = context.records
  const body = withoutEmpty((await readJsonObject(response)) ?? {})
  const { clientId, server } = held.value
  // RFC 7592 §3: a client information response, and ours. A page, or another client's, says nothing of what was done.
  if (body['client_id'] !== clientId) {
    const why = body['client_id'] === undefined ? 'no client information' : 'about another client'
    throw managementFailed(held.value, 'Management', `the answer is ${why}`, 'unusable')
  }
  const remote = omit(body, NOT_METADATA)
  let before = held
  for (let attempt = 0; attempt < MAX_SAVES && before.value.clientId === clientId; attempt++) {
    const changed = {
      ...before.value,
      ...answered(context, body, before.value, changes),
      ...(typeof changes['scope'] === 'string' && { scope: changes['scope'] }),
      // What was asked for, not what the server made of it: a later change of ours is told by that.
      ...(remember && remembered(before.value, changes, remote)),
    }
    if (JSON.stringify(changed) === JSON.stringify(before.value)) return { held: before, remote }
    const isSaved = await registrations.saveOrKeep(key, before, changed)
    const latest = await registrations.get(key)
    if (latest === undefined) break
    if (isSaved) return { held: latest, remote }
    before = latest
  }
  throw new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
    server,
    fix: 'Try again.',
  })
}

function remembered(
  { metadata: before, leftOut }: Registration,
  changes: Metadata,
  remote: Metadata,
): Partial<Registration> {
  const metadata = withoutEmpty({ ...before, ...toKeep(changes) })
  return {
    metadata,
    substituted: substitutions(metadata, remote),
    cutOffAt: undefined,
    ...(leftOut !== undefined && leftOut in changes && { leftOut: undefined }),
  }
}

/** The credentials and rights that a response gives. */
function answered(
  context: OAuthContext,
  body: Metadata,
  {
    server,
    registrationClientUri,
    issuer,
    clientSecret,
    clientSecretExpiresAt,
    tokenEndpointAuthMethod,
  }: Registration,
  changes: Metadata,
): Partial<Registration> {
  const secret = typeof body['client_secret'] === 'string' ? body['client_secret'] : clientSecret
  const token = body['registration_access_token']
  const uri = body['registration_client_uri']
  const said = numberOf(body['client_secret_expires_at'])
  const expiresAt =
    said >= 0 ? secretExpiry(context, server, said, clientSecretExpiresAt) : clientSecretExpiresAt
  const method = body['token_endpoint_auth_method'] ?? changes['token_endpoint_auth_method']
  const scope = scopeString(body['scope'])
  const isNewSecret = secret !== clientSecret || expiresAt !== clientSecretExpiresAt
  const isPossible =
    method === 'none' ||
    ((method === 'client_secret_basic' || method === 'client_secret_post') && secret !== undefined)
  if (method !== undefined && !isPossible) {
    context.logger.warn(
      'a client is to authenticate in a way that is not possible here; it is used as before',
      {
        server,
        method: quoteUntrusted(method),
      },
    )
  }
  return {
    ...(secret !== undefined && { clientSecret: secret }),
    ...(expiresAt !== undefined && { clientSecretExpiresAt: expiresAt }),
    ...(isNewSecret && { clientSecretObtainedAt: context.clock(), renewalTriedAt: undefined }),
    ...(scope !== undefined && { registeredScope: scope }),
    ...(isBearerToken(token) && { registrationAccessToken: token }),
    ...(isManagementUri(uri, [issuer, registrationClientUri]) && { registrationClientUri: uri }),
    ...(isPossible && { tokenEndpointAuthMethod: method }),
    // A client that has become public has a secret no more, and nothing that expires.
    ...(method === 'none' &&
      tokenEndpointAuthMethod !== 'none' &&
      body['client_secret'] === undefined && { clientSecret: undefined, clientSecretExpiresAt: undefined }),
  }
}

function withoutSecrets(text: string, { clientSecret, registrationAccessToken }: Registration): string {
  return [clientSecret, registrationAccessToken].reduce<string>(
    (shown, secret) => (secret === undefined ? shown : shown.replaceAll(secret, '…')),
    text,
  )
}
