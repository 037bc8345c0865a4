import { McpDcrError } from '../errors.js'
import type { OAuthClient, Registration, Server } from '../model.js'
import { registrationKey, type Versioned } from '../store/records.js'
import { scopeList } from './choose-scope.js'
import type { OAuthContext } from './context.js'
import type { ClientReference, ClientRequest } from './ensure-client.js'
import { resolveInitialAccessToken } from './initial-access-token.js'
import { register } from './register.js'

/**
 * The registered client for an MCP server, issuer and redirect URI; registers one where there is none that
 * can be used. One registration is in flight per key, in all instances (SPEC 20).
 */
export async function dynamicClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const redirectUri = `${request.baseUrl}/api/oauth/callback`
  const key = registrationKey(request.server.name, request.discovered.authorizationServer.issuer, redirectUri)
  const known = usable(context, request, (await context.records.registrations.get(key))?.value)
  if (known !== undefined) return known
  const work = async (): Promise<OAuthClient> => {
    const before = await context.records.registrations.get(key)
    return (
      usable(context, request, before?.value) ??
      registerUnderLease(context, request, redirectUri, key, before)
    )
  }
  const outcome = JSON.stringify([request.server.url, request.scope])
  return context.leases.withLease(`register ${key}`, context.timeout + 5_000, work, outcome)
}

/** The client that a connection or a pending flow began with, also where another has taken its place since. */
export async function recallDynamicClient(
  { records }: OAuthContext,
  server: Server,
  { clientId, redirectUri, authorizationServer }: ClientReference,
): Promise<OAuthClient | undefined> {
  const key = registrationKey(server.name, authorizationServer.issuer, redirectUri)
  const current = toClient((await records.registrations.get(key))?.value)
  if (current?.clientId === clientId) return current
  return toClient((await records.registrations.get(formerKey(key, clientId)))?.value)
}

/** Forgets a registration that its issuer does not know any more. */
export async function forgetClient(
  { records }: OAuthContext,
  server: Server,
  { clientSource, clientId, redirectUri, authorizationServer }: ClientReference,
): Promise<void> {
  if (clientSource !== 'dynamic') return
  const key = registrationKey(server.name, authorizationServer.issuer, redirectUri)
  for (const candidate of [key, formerKey(key, clientId)]) {
    const held = await records.registrations.get(candidate)
    if (held?.value.clientId === clientId) await records.registrations.delete(candidate, held.version)
  }
}

/** The marker goes first, so that a crash orphans nothing silently. */
async function registerUnderLease(
  context: OAuthContext,
  request: ClientRequest,
  redirectUri: string,
  key: string,
  before: Versioned<Registration> | undefined,
): Promise<OAuthClient> {
  const { server, discovered } = request
  const { registrations } = context.records
  if (before?.value.status === 'registering') {
    context.logger.warn('an earlier registration was cut off; registering again', { server: server.name })
  }
  await keepFormer(context, key, before?.value)
  const marker: Registration = {
    status: 'registering',
    server: server.name,
    serverUrl: server.url,
    issuer: discovered.authorizationServer.issuer,
    redirectUri,
    createdAt: context.clock(),
    ...withScope(widened(request, before?.value)),
  }
  if (!(await registrations.save(key, before?.version, marker))) throw lostRace(server)
  const version = (await registrations.get(key))?.version
  try {
    const registration = await registerWidened(context, request, marker)
    if (!(await registrations.save(key, version, registration))) throw lostRace(server)
    context.logger.info('registered a client', { server: server.name, issuer: registration.issuer })
    return toClient(registration) as OAuthClient
  } catch (error) {
    // An answer that refuses leaves no client behind; without an answer there may be one, so the marker stays.
    const answered = !(error instanceof McpDcrError && NO_ANSWER.has(error.code))
    if (answered) await removeMarker(context, key, version, before?.value).catch(() => undefined)
    throw error
  }
}

/** Of a scope, in characters: what a server names may not grow without bound. */
const MAX_SCOPE = 4096

/** What was registered before stays in, or two users with different scopes would replace each other's client. */
function widened({ server, scope }: ClientRequest, before: Registration | undefined): string | undefined {
  if (before?.serverUrl !== server.url) return scope
  const scopes = [...new Set([...scopeList(scope), ...scopeList(before.scope)])].join(' ')
  return scopes === '' || scopes.length > MAX_SCOPE ? scope : scopes
}

/** A scope that the issuer has withdrawn since must not stand in the way of those that are needed now. */
async function registerWidened(
  context: OAuthContext,
  { server, discovered: { authorizationServer }, scope: needed }: ClientRequest,
  { scope: wanted, ...marker }: Registration,
): Promise<Registration> {
  const initialAccessToken = await resolveInitialAccessToken(server, context.timeout)
  const registerFor = async (scope: string | undefined): Promise<Registration> => {
    const client = await register(
      {
        server,
        authorizationServer,
        clientName: context.clientName,
        redirectUri: marker.redirectUri,
        scope,
        initialAccessToken,
      },
      context.fetch,
      context.reachOf(server),
    )
    return { ...marker, ...withScope(scope), status: 'registered', ...client }
  }
  try {
    return await registerFor(wanted)
  } catch (error) {
    const refused = error instanceof McpDcrError && error.code === 'invalid_client_metadata'
    if (!refused || wanted === needed) throw error
    return registerFor(needed)
  }
}

function withScope(scope: string | undefined): Pick<Registration, 'scope'> {
  return scope === undefined ? {} : { scope }
}

const NO_ANSWER = new Set([
  'request_failed',
  'request_timeout',
  'response_too_large',
  'store_write_failed',
  'store_unavailable',
])

/** What was registered before is still good for what it was registered for. */
async function removeMarker(
  { records: { registrations } }: OAuthContext,
  key: string,
  version: string | undefined,
  before: Registration | undefined,
): Promise<void> {
  if (before?.status === 'registered') await registrations.save(key, version, before)
  else await registrations.delete(key, version)
}

/** How many replaced clients are kept of one server, issuer and redirect URI. */
const MAX_FORMER = 8

/** A replaced client still refreshes what was issued under it. */
async function keepFormer(
  { records: { registrations } }: OAuthContext,
  key: string,
  registration: Registration | undefined,
): Promise<void> {
  if (registration?.clientId === undefined) return
  await registrations.save(formerKey(key, registration.clientId), undefined, registration)
  const former = []
  for await (const record of registrations.list()) {
    if (record.key.startsWith(formerKey(key, ''))) former.push(record)
  }
  former.sort((a, b) => b.value.createdAt - a.value.createdAt)
  for (const { key: oldest, version } of former.slice(MAX_FORMER)) await registrations.delete(oldest, version)
}

function formerKey(key: string, clientId: string): string {
  return `${key}/${encodeURIComponent(clientId)}`
}

/** The registered client, unless it is another server's by now, its secret has expired, or it may not ask for this scope. */
function usable(
  { clock }: OAuthContext,
  { server, scope }: ClientRequest,
  registration: Registration | undefined,
): OAuthClient | undefined {
  if (registration?.serverUrl !== server.url) return undefined
  const expiresAt = registration.clientSecretExpiresAt ?? 0
  if (expiresAt !== 0 && expiresAt * 1000 <= clock()) return undefined
  const registered = new Set(scopeList(registration.scope))
  return scopeList(scope).every((token) => registered.has(token)) ? toClient(registration) : undefined
}

function toClient(registration: Registration | undefined): OAuthClient | undefined {
  const { status, clientId, clientSecret, tokenEndpointAuthMethod } = registration ?? {}
  if (status !== 'registered' || clientId === undefined || tokenEndpointAuthMethod === undefined)
    return undefined
  return {
    source: 'dynamic',
    clientId,
    tokenEndpointAuthMethod,
    ...(clientSecret !== undefined && { clientSecret }),
  }
}

function lostRace(server: Server): McpDcrError {
  return new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
    server: server.name,
    fix: 'Try again.',
  })
}
