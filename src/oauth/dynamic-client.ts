import { McpDcrError } from '../errors.js'
import type { OAuthClient, Registration, Server } from '../model.js'
import { registrationKey, type Versioned } from '../store/records.js'
import { scopeList } from './choose-scope.js'
import type { OAuthContext } from './context.js'
import type { ClientReference, ClientRequest } from './ensure-client.js'
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
  { server, discovered, scope }: ClientRequest,
  redirectUri: string,
  key: string,
  before: Versioned<Registration> | undefined,
): Promise<OAuthClient> {
  const { registrations } = context.records
  if (before?.value.status === 'registering') {
    context.logger.warn('an earlier registration was cut off; registering again', { server: server.name })
  }
  await keepFormer(context, key, before?.value)
  // What was registered before stays in, or two users with different scopes would replace each other's client.
  const scopes = new Set([...scopeList(scope), ...scopeList(before?.value.scope)])
  const marker: Registration = {
    status: 'registering',
    server: server.name,
    serverUrl: server.url,
    issuer: discovered.authorizationServer.issuer,
    redirectUri,
    createdAt: context.clock(),
    ...(scopes.size > 0 && { scope: [...scopes].join(' ') }),
  }
  if (!(await registrations.save(key, before?.version, marker))) throw lostRace(server)
  const version = (await registrations.get(key))?.version
  try {
    const client = await register(
      server,
      discovered.authorizationServer,
      { clientName: context.clientName, redirectUri },
      marker.scope,
      context.fetch,
      context.reachOf(server),
    )
    const registration: Registration = { ...marker, status: 'registered', ...client }
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

/** A replaced client still refreshes what was issued under it. */
async function keepFormer(
  { records }: OAuthContext,
  key: string,
  registration: Registration | undefined,
): Promise<void> {
  if (registration?.clientId === undefined) return
  await records.registrations.save(formerKey(key, registration.clientId), undefined, registration)
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
