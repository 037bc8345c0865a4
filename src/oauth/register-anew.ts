import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, OAuthClient, Registration, Server } from '../model.js'
import { formerRegistrationKey, type Versioned } from '../store/records.js'
import { scopeList } from './choose-scope.js'
import type { OAuthContext } from './context.js'
import type { ClientRequest } from './ensure-client.js'
import { resolveInitialAccessToken } from './initial-access-token.js'
import { deleteRegistration } from './manage-registration.js'
import { register } from './register.js'
import { methodToAskFor, otherMethod, registrationRequest } from './registration-request.js'
import { coversScope, isManaged, toClient } from './registration-state.js'

/**
 * Registers a client and keeps it. The marker goes first, so that a crash orphans nothing silently. The caller
 * holds the registration's lease.
 *
 * @param before what is held in its place
 */
export async function registerAnew(
  context: OAuthContext,
  request: ClientRequest,
  redirectUri: string,
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
  const marker: Registration = {
    status: 'registering',
    server: server.name,
    serverUrl: server.url,
    issuer: discovered.authorizationServer.issuer,
    redirectUri,
    createdAt: context.clock(),
    ...(scope !== undefined && { scope }),
  }
  if (!(await registrations.save(key, before?.version, marker))) throw lostRace(server)
  const version = (await registrations.get(key))?.version
  try {
    const registration = await registerOnceAdjusted(context, request, marker)
    if (!(await registrations.save(key, version, registration))) {
      return await yieldTo(context, request, registration, (await registrations.get(key))?.value)
    }
    context.logger.info('registered a client', { server: server.name, issuer: registration.issuer })
    return toClient(registration) as OAuthClient
  } catch (error) {
    // An answer that refuses leaves no client behind; without an answer there may be one, so the marker stays.
    const answered = !(error instanceof McpDcrError && NO_ANSWER.has(error.code))
    await removeMarker(context, key, version, before?.value, answered).catch(() => undefined)
    throw error
  }
}

const NO_ANSWER = new Set([
  'request_failed',
  'request_timeout',
  'response_too_large',
  'store_write_failed',
  'store_unavailable',
])

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
  readonly method: string | undefined
}

/** Registers; where the server refuses a value (RFC 7591 §3.2.2), once more without it (SPEC 19). */
async function registerOnceAdjusted(
  context: OAuthContext,
  { server, discovered: { authorizationServer }, scope: needed }: ClientRequest,
  { scope: wanted, ...marker }: Registration,
): Promise<Registration> {
  const { redirectUri } = marker
  const initialAccessToken = await resolveInitialAccessToken(server, context.timeout)
  const attempt = async ({ scope, method }: Attempt): Promise<Registration> => {
    const description = { clientName: context.clientName, redirectUri }
    const metadata = registrationRequest(server, authorizationServer, description, scope, method)
    const client = await register(
      { server, authorizationServer, redirectUri, metadata, initialAccessToken },
      context.fetch,
      context.reachOf(server),
    )
    const { software_statement: _, ...kept } = metadata
    // A client that was registered without a scope may ask for any.
    const covered = scope ?? needed
    return {
      ...marker,
      ...(covered !== undefined && { scope: covered }),
      metadata: kept,
      status: 'registered',
      ...client,
      ...(client.clientSecret !== undefined && { clientSecretObtainedAt: context.clock() }),
    }
  }
  const first: Attempt = { scope: wanted, method: undefined }
  try {
    return await attempt(first)
  } catch (error) {
    const second = adjusted(first, needed, error, server, authorizationServer)
    if (second === undefined) throw error
    context.logger.info('registering once more, without what was refused', { server: server.name })
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
): Attempt | undefined {
  if (!(error instanceof McpDcrError)) return undefined
  // A policy may refuse by a 403 insufficient_scope: "Not permitted to use specified clientScope", for `openid` too.
  const isAboutScope = /\binvalid_scope\b|\bclient ?scopes?\b/i.test(error.message)
  const isRefused = error.code === 'invalid_client_metadata' || isAboutScope
  if (!isRefused) return undefined
  const method = otherMethod(server, authorizationServer, methodToAskFor(server, authorizationServer))
  const isAboutMethod = /auth[\w ]*method/i.test(error.message)
  if (method !== undefined && (isAboutMethod || scope === undefined)) return { scope, method }
  if (isAboutMethod || scope === undefined) return undefined
  return { scope: scope === needed ? undefined : needed, method: undefined }
}

/** Somebody else registered meanwhile: theirs is used, and ours, which nobody would use, is deleted. */
async function yieldTo(
  context: OAuthContext,
  { server, scope }: ClientRequest,
  own: Registration,
  winner: Registration | undefined,
): Promise<OAuthClient> {
  await deleteQuietly(context, own)
  const client = winner !== undefined && coversScope(winner, scope) ? toClient(winner) : undefined
  if (client !== undefined && winner?.serverUrl === server.url) return client
  throw lostRace(server)
}

/**
 * What was registered before is still good for what it was registered for. Without an answer it remembers that
 * the attempt was cut off; where there was nothing before, the marker itself stays for that.
 */
async function removeMarker(
  { records: { registrations }, clock }: OAuthContext,
  key: string,
  version: string | undefined,
  before: Registration | undefined,
  answered: boolean,
): Promise<void> {
  if (before?.status === 'registered' && before.clientId !== undefined) {
    const restored = answered ? before : { ...before, cutOffAt: clock() }
    if (await registrations.save(key, version, restored)) {
      await registrations.delete(formerRegistrationKey(key, before.clientId))
    }
  } else if (answered) {
    await registrations.delete(key, version)
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
  const { registrations, connections } = context.records
  const own = formerRegistrationKey(key, registration.clientId)
  await registrations.save(own, (await registrations.get(own))?.version, registration)
  const used = new Set<string>()
  for await (const { value } of connections.list()) used.add(value.clientId)
  const unused = []
  for await (const record of registrations.list()) {
    const isFormer = record.key.startsWith(formerRegistrationKey(key, '')) && record.key !== own
    if (isFormer && !used.has(record.value.clientId ?? '')) unused.push(record)
  }
  unused.sort((a, b) => b.value.createdAt - a.value.createdAt)
  for (const { key: oldest, version, value } of unused.slice(MAX_FORMER - 1)) {
    await deleteQuietly(context, value)
    await registrations.delete(oldest, version)
  }
}

/** Of a client that nobody uses; it may stay at an issuer that does not let us delete it. */
async function deleteQuietly(context: OAuthContext, registration: Registration): Promise<void> {
  if (!isManaged(registration)) return
  await deleteRegistration(context, registration).catch((error: unknown) => {
    context.logger.warn('a registration that nobody uses could not be deleted at its issuer', {
      server: registration.server,
      clientId: registration.clientId,
      error: error instanceof McpDcrError ? error.message : undefined,
    })
  })
}

function lostRace(server: Server): McpDcrError {
  return new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
    server: server.name,
    fix: 'Try again.',
  })
}
