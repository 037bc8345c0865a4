import { createHash } from 'node:crypto'
import { McpDcrError, quoteUntrusted, type ErrorCode } from '../errors.js'
import { omit } from '../json-object.js'
import type { AuthorizationServerMetadata, OAuthClient, Registration, Server } from '../model.js'
import { formerRegistrationKey, serverPrefix, type Versioned } from '../store/records.js'
import { scopeList } from './choose-scope.js'
import type { OAuthContext } from './context.js'
import type { ClientRequest } from './ensure-client.js'
import { emitRegistration } from './events.js'
import { resolveInitialAccessToken } from './initial-access-token.js'
import { deleteQuietly } from './manage-registration.js'
import { nameServer } from './name-server.js'
import { redirectUriOf } from './redirect-uri.js'
import { failureOf, register } from './register.js'
import { noteFailed, noteWorked, type RegistrationAttempt } from './registration-pauses.js'
import { managementOf, readRegisteredClient, type RegisteredClient } from './registration-response.js'
import { methodToAskFor, otherMethod, registrationRequest } from './registration-request.js'
import { fits, isManaged, substitutions, toClient, toKeep, type Metadata } from './registration-state.js'
import { secretExpiry } from './secret-expiry.js'
import { noteUnusable } from './unusable-clients.js'

/**
 * Registers a client and keeps it. The marker goes first, so that a crash orphans nothing silently. The caller
 * holds the registration's lease.
 *
 * @param before what is held in its place
 */
export async function registerAnew(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
  before: Versioned<Registration> | undefined,
): Promise<OAuthClient> {
  const { server, discovered } = request
  const { registrations } = context.records
  if (before?.value.status === 'registering' || before?.value.cutOffAt !== undefined) {
    context.logger.warn('an earlier registration was cut off; registering again', { server: server.name })
  }
  await keepFormer(context, key, before?.value)
  const scope = widened(request, before?.value)
  const attempt = attemptOf(context, request, before?.value)
  const marker: Registration = {
    status: 'registering',
    server: server.name,
    serverUrl: server.url,
    issuer: discovered.authorizationServer.issuer,
    redirectUri: redirectUriOf(request.baseUrl),
    createdAt: context.clock(),
    ...(scope !== undefined && { scope }),
  }
  if (!(await registrations.save(key, before, marker))) throw lostRace(server)
  const marked = await registrations.get(key)
  try {
    const registration = await registerOnceAdjusted(context, request, marker)
    noteWorked(context, attempt)
    const isSaved = await registrations.save(key, marked, registration).catch(async (error: unknown) => {
      await discard(context, registration)
      throw error
    })
    if (!isSaved) return await yieldTo(context, request, registration, (await registrations.get(key))?.value)
    emitRegistration(context, 'registered', registration)
    context.logger.info('registered a client', { server: server.name, issuer: registration.issuer })
    return toClient(registration) as OAuthClient
  } catch (error) {
    if (error instanceof McpDcrError && error.code === 'registration_response_invalid') {
      await noteUnusable(context, marker).catch(() => undefined)
    }
    // An answer that refuses leaves no client behind; without one that can be read there may be one, so the marker stays.
    const unanswered = failureOf(error)?.unanswered ?? isStoreFailure(error)
    noteFailed(context, attempt, error)
    await removeMarker(context, key, marked, before?.value, !unanswered).catch(() => undefined)
    throw error
  }
}

function isStoreFailure(error: unknown): boolean {
  return (
    error instanceof McpDcrError &&
    (error.code === 'store_write_failed' || error.code === 'store_unavailable')
  )
}

/** What {@link registerAnew} would try, by which a pause is kept after it has failed. */
export function attemptOf(
  { clientName }: OAuthContext,
  request: ClientRequest,
  before: Registration | undefined,
): RegistrationAttempt {
  const { server, discovered, baseUrl } = request
  const { authorizationServer } = discovered
  const redirectUri = redirectUriOf(baseUrl)
  const { initialAccessToken: token } = server.oauth
  const sent = JSON.stringify([
    registrationRequest(server, authorizationServer, { clientName, redirectUri }, widened(request, before)),
    authorizationServer.registration_endpoint,
    // A function may give another one each time, and is none the more a change.
    typeof token === 'string' ? token : null,
  ])
  return {
    server: server.name,
    issuer: authorizationServer.issuer,
    redirectUri,
    sent: createHash('sha256').update(sent).digest('base64url'),
  }
}

/** Of a scope, in characters: what a server names may not grow without bound. */
const MAX_SCOPE = 4096

/** What was registered before stays in, or two users with different scopes would replace each other's client. */
export function widened(
  { server, scope }: ClientRequest,
  before: Registration | undefined,
): string | undefined {
  if (before?.serverUrl !== server.url) return scope
  const scopes = [...new Set([...scopeList(before.scope), ...scopeList(scope)])].join(' ')
  return scopes === '' || scopes.length > MAX_SCOPE ? scope : scopes
}

/** What is asked for in one try. */
interface Attempt {
  readonly scope: string | undefined
  /** Undefined: the one that is asked for by itself. */
  readonly method?: string
  /** A member that is not sent. */
  readonly leftOut?: string
}

/** Registers; where the server refuses a value (RFC 7591 §3.2.2), once more without it (SPEC 19). */
async function registerOnceAdjusted(
  context: OAuthContext,
  { server, discovered: { authorizationServer }, scope: needed }: ClientRequest,
  { scope: wanted, ...marker }: Registration,
): Promise<Registration> {
  const { redirectUri } = marker
  const initialAccessToken = await resolveInitialAccessToken(server, context.timeout)
  const metadataOf = ({ scope, method }: Attempt): Record<string, unknown> => {
    const description = { clientName: context.clientName, redirectUri }
    return registrationRequest(server, authorizationServer, description, scope, method)
  }
  const read = async (answered: Metadata, asked: Metadata): Promise<RegisteredClient> => {
    try {
      return readRegisteredClient(answered, String(asked['token_endpoint_auth_method']), authorizationServer)
    } catch (error) {
      // It is there, and nobody can use it.
      const clientId = String(answered['client_id'])
      context.logger.warn('a client was registered that cannot be used; it is given up', {
        server: server.name,
        clientId: quoteUntrusted(clientId),
      })
      const left = { ...marker, clientId, ...managementOf(answered, authorizationServer) }
      if (isManaged(left)) await deleteQuietly(context, left)
      throw nameServer(error, server)
    }
  }
  const attempt = async (asked: Attempt): Promise<Registration> => {
    const { scope, leftOut } = asked
    const wanted = metadataOf(asked)
    const metadata = omit(wanted, [leftOut])
    const answered = await register(
      { server, authorizationServer, redirectUri, metadata, initialAccessToken },
      context.fetch,
      context.reachOf(server),
    )
    const client = await read(answered, metadata)
    const kept = toKeep(wanted)
    // A client that was registered without a scope may ask for any.
    const covered = scope ?? needed
    return {
      ...marker,
      ...(covered !== undefined && { scope: covered }),
      metadata: kept,
      substituted: substitutions(kept, answered),
      ...(leftOut !== undefined && { leftOut }),
      status: 'registered',
      ...client,
      ...(client.clientSecretExpiresAt !== undefined && {
        clientSecretExpiresAt: secretExpiry(context, server.name, client.clientSecretExpiresAt),
        clientSecretObtainedAt: context.clock(),
      }),
    }
  }
  const first: Attempt = { scope: wanted }
  try {
    return await attempt(first)
  } catch (error) {
    const second = adjusted(first, needed, error, server, authorizationServer, metadataOf(first))
    if (second === undefined) throw error
    context.logger.info('registering once more, without what was refused', {
      server: server.name,
      leftOut: second.leftOut,
    })
    return attempt(second)
  }
}

/** What to ask for instead. A server's words tell what it refused, where it says; otherwise it is most often the scope. */
function adjusted(
  { scope }: Attempt,
  needed: string | undefined,
  error: unknown,
  server: Server,
  authorizationServer: AuthorizationServerMetadata,
  metadata: Readonly<Record<string, unknown>>,
): Attempt | undefined {
  if (!(error instanceof McpDcrError)) return undefined
  const leftOut = REFUSED.has(error.code) ? namedIn(error.message, metadata) : undefined
  if (leftOut !== undefined) return { scope, leftOut }
  // A policy may refuse by a 403 insufficient_scope: "Not permitted to use specified clientScope", for `openid` too.
  const isAboutScope = /\binvalid_scope\b|\bclient ?scopes?\b/i.test(error.message)
  const isRefused = error.code === 'invalid_client_metadata' || isAboutScope
  if (!isRefused) return undefined
  const method = otherMethod(server, authorizationServer, methodToAskFor(server, authorizationServer))
  const isAboutMethod = /auth[\w ]*method/i.test(error.message)
  if (method !== undefined && (isAboutMethod || scope === undefined)) return { scope, method }
  if (isAboutMethod || scope === undefined) return undefined
  return { scope: scope === needed ? undefined : needed }
}

const REFUSED: ReadonlySet<ErrorCode> = new Set(['invalid_client_metadata', 'registration_failed'])

/** Without these a client is none, or there is another way to adjust them. */
const NEEDED: ReadonlySet<string> = new Set([
  'client_name', 'redirect_uris', 'grant_types', 'response_types', 'token_endpoint_auth_method', 'scope',
  'software_statement',
]) // prettier-ignore

/** The member that a refusal names. */
function namedIn(message: string, metadata: Readonly<Record<string, unknown>>): string | undefined {
  const words = new Set(message.match(/\w+/g))
  return Object.keys(metadata).find((name) => !NEEDED.has(name) && words.has(name))
}

/** Somebody else registered meanwhile: theirs is used, and ours, which nobody would use, is deleted. */
async function yieldTo(
  context: OAuthContext,
  request: ClientRequest,
  own: Registration,
  winner: Registration | undefined,
): Promise<OAuthClient> {
  await discard(context, own)
  const isOfUse = winner !== undefined && fits(winner, request, context.clock())
  const client = isOfUse ? toClient(winner) : undefined
  if (client === undefined) throw lostRace(request.server)
  return client
}

/** Deletes a client that never came to be used. */
async function discard(context: OAuthContext, registration: Registration): Promise<void> {
  await deleteQuietly(context, registration)
  emitRegistration(context, 'registration_deleted', registration)
}

/**
 * What was registered before is still good for what it was registered for. Without an answer it remembers that
 * the attempt was cut off; where there was nothing before, the marker itself stays for that.
 */
async function removeMarker(
  { records: { registrations }, clock }: OAuthContext,
  key: string,
  marked: Versioned<Registration> | undefined,
  before: Registration | undefined,
  answered: boolean,
): Promise<void> {
  if (before?.status === 'registered' && before.clientId !== undefined) {
    const restored = answered ? before : { ...before, cutOffAt: clock() }
    if (await registrations.save(key, marked, restored)) {
      await registrations.delete(formerRegistrationKey(key, before.clientId))
    }
  } else if (answered) {
    await registrations.delete(key, marked)
  }
}

/** How many replaced clients are kept of one server, issuer and redirect URI beside those that connections use. */
const MAX_FORMER = 8

/** A replaced client still refreshes what was issued under it. */
async function keepFormer(
  context: OAuthContext,
  key: string,
  registration: Registration | undefined,
): Promise<void> {
  if (registration?.clientId === undefined) return
  const { registrations } = context.records
  const own = formerRegistrationKey(key, registration.clientId)
  // That an earlier attempt was cut off is said until another client is there, no longer.
  const { cutOffAt: _, ...former } = registration
  await registrations.save(own, await registrations.get(own), former)
  const used = await clientsInUse(context, registration.server)
  const unused = []
  for await (const record of registrations.list(formerRegistrationKey(key, ''))) {
    if (record.key !== own && !used.has(record.value.clientId)) unused.push(record)
  }
  unused.sort((a, b) => b.value.createdAt - a.value.createdAt)
  const oldest = unused.slice(MAX_FORMER - 1)
  await Promise.all(
    oldest.map(async (old) => {
      // One that cannot be reached for now is tried again when the next client is replaced.
      if (!(await deleteQuietly(context, old.value))) return
      const isDeleted = await registrations.delete(old.key, old)
      if (isDeleted) emitRegistration(context, 'registration_deleted', old.value)
    }),
  )
}

/** The client ids by which somebody is connected to a server. */
async function clientsInUse(
  { records: { connections } }: OAuthContext,
  server: string,
): Promise<ReadonlySet<string | undefined>> {
  const used = new Set<string>()
  for await (const { value } of connections.listBare(serverPrefix(server))) {
    if (value.status === 'connected') used.add(value.clientId)
  }
  return used
}

/**
 * Gives up a client that its issuer does not know any more, and that another one has replaced: it may be gone,
 * or its registration access token alone. Where somebody is connected by it, it is kept for refreshing.
 *
 * @param key where the replaced client is kept
 */
export async function dropManagement(context: OAuthContext, key: string): Promise<void> {
  const { registrations } = context.records
  const held = await registrations.get(key)
  if (held === undefined) return
  const { registrationAccessToken: _, registrationClientUri: __, ...bare } = held.value
  const used = await clientsInUse(context, bare.server)
  if (used.has(bare.clientId)) {
    await registrations.save(key, held, bare)
  } else if (await registrations.delete(key, held)) {
    emitRegistration(context, 'registration_deleted', bare)
  }
}

function lostRace(server: Server): McpDcrError {
  return new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
    server: server.name,
    fix: 'Try again.',
  })
}
