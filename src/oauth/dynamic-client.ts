import { McpDcrError } from '../errors.js'
import type { OAuthClient, Registration, Server } from '../model.js'
import { formerRegistrationKey, registrationKey, type Versioned } from '../store/records.js'
import type { OAuthContext } from './context.js'
import type { ClientReference, ClientRequest } from './ensure-client.js'
import { isPassing, replaceRegistration } from './manage-registration.js'
import { registerAnew, widened } from './register-anew.js'
import { registrationRequest } from './registration-request.js'
import { coversScope, hasDrifted, isDue, isExpired, isManaged, toClient } from './registration-state.js'

/**
 * The registered client for an MCP server, issuer and redirect URI. Where there is none, one is registered;
 * one that is no longer as it should be is replaced at the issuer (RFC 7592), or else registered again. One of
 * these is in flight per key, in all instances (SPEC 20).
 */
export async function dynamicClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const redirectUri = `${request.baseUrl}/api/oauth/callback`
  const { server, discovered, scope } = request
  const key = registrationKey(server.name, discovered.authorizationServer.issuer, redirectUri)
  const known = current(context, request, redirectUri, (await context.records.registrations.get(key))?.value)
  if (known !== undefined) return known
  return withRegistrationLease(
    context,
    key,
    async () => {
      const held = await context.records.registrations.get(key)
      return (
        current(context, request, redirectUri, held?.value) ??
        (await bringUpToDate(context, request, redirectUri, key, held)) ??
        registerAnew(context, request, redirectUri, key, await context.records.registrations.get(key))
      )
    },
    JSON.stringify([server.url, scope]),
  )
}

/** Runs work that changes a registration; see {@link Leases.withLease}. It may make a handful of requests. */
export function withRegistrationLease<T>(
  { leases, timeout }: OAuthContext,
  key: string,
  work: () => Promise<T>,
  outcome?: string,
): Promise<T> {
  return leases.withLease(`register ${key}`, 4 * timeout + 5_000, work, outcome)
}

/** The client, if it is as it would be registered today, may ask for this scope, and has a secret to last. */
function current(
  context: OAuthContext,
  request: ClientRequest,
  redirectUri: string,
  registration: Registration | undefined,
): OAuthClient | undefined {
  if (registration === undefined || !fits(context, request, registration)) return undefined
  const isFresh =
    !isDue(registration, context.clock()) && !hasDrifted(registration, wanted(context, request, redirectUri))
  return isFresh ? toClient(registration) : undefined
}

/** Whether the registration would do, though it should be renewed or brought up to date. */
function fits(
  { clock }: OAuthContext,
  { server, scope }: ClientRequest,
  registration: Registration,
): boolean {
  return (
    registration.serverUrl === server.url &&
    !isExpired(registration, clock()) &&
    coversScope(registration, scope)
  )
}

function wanted(
  { clientName }: OAuthContext,
  { server, discovered, scope }: ClientRequest,
  redirectUri: string,
): Record<string, unknown> {
  return registrationRequest(server, discovered.authorizationServer, { clientName, redirectUri }, scope)
}

/**
 * Replaces a registration at its issuer where that is possible; undefined where it takes another one. With a
 * new redirect URI it is the one for the former URI that moves.
 */
async function bringUpToDate(
  context: OAuthContext,
  request: ClientRequest,
  redirectUri: string,
  key: string,
  held: Versioned<Registration> | undefined,
): Promise<OAuthClient | undefined> {
  const { registrations } = context.records
  const source = held === undefined ? await findMoved(context, request, redirectUri) : { key, held }
  if (source === undefined) return undefined
  const { value } = source.held
  if (value.serverUrl !== request.server.url || !isManaged(value) || value.status !== 'registered')
    return undefined
  const scope = widened(request, value) ?? ''
  const {
    token_endpoint_auth_method: _,
    software_statement: __,
    scope: ___,
    ...metadata
  } = wanted(context, request, redirectUri)
  // A client that was registered without a scope, since the server refused it, keeps what the server gave it.
  const isScopeless = value.metadata !== undefined && value.metadata['scope'] === undefined
  const changes = isScopeless && coversScope(value, request.scope) ? metadata : { ...metadata, scope }
  try {
    const replaced = await replaceRegistration(context, source.key, source.held, changes)
    if (source.key !== key) await move(context, source.key, replaced.held, key, redirectUri)
    const now = (await registrations.get(key))?.value
    context.logger.info('updated a registration', { server: value.server, issuer: value.issuer })
    return current(context, request, redirectUri, now)
  } catch (error) {
    return afterFailure(context, request, source.key, source.held, error)
  }
}

/** One that is gone is forgotten; a passing failure leaves the client in use as long as it would do. */
async function afterFailure(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
  held: Versioned<Registration>,
  error: unknown,
): Promise<OAuthClient | undefined> {
  if (!(error instanceof McpDcrError)) throw error
  context.logger.warn(`${error.code}: ${error.message}`, { server: held.value.server })
  const latest = await context.records.registrations.get(key)
  if (error.code === 'registration_gone') {
    if (latest !== undefined) await context.records.registrations.delete(key, latest.version)
    return undefined
  }
  if (error.code !== 'management_failed') throw error
  if (!isPassing(error)) return undefined
  if (latest !== undefined && fits(context, request, latest.value)) return toClient(latest.value)
  throw error
}

/** The registration for another redirect URI of this gateway: its base URL, or its port, has changed. */
async function findMoved(
  { records: { registrations } }: OAuthContext,
  { server, discovered }: ClientRequest,
  redirectUri: string,
): Promise<{ key: string; held: Versioned<Registration> } | undefined> {
  for await (const { key, value, version } of registrations.list()) {
    if (
      value.server === server.name &&
      value.serverUrl === server.url &&
      value.issuer === discovered.authorizationServer.issuer &&
      value.redirectUri !== redirectUri &&
      value.status === 'registered' &&
      isManaged(value) &&
      key === registrationKey(value.server, value.issuer, value.redirectUri)
    ) {
      return { key, held: { value, version } }
    }
  }
  return undefined
}

async function move(
  { records: { registrations } }: OAuthContext,
  from: string,
  { value, version }: Versioned<Registration>,
  to: string,
  redirectUri: string,
): Promise<void> {
  if (await registrations.save(to, undefined, { ...value, redirectUri }))
    await registrations.delete(from, version)
}

/** The client that a connection or a pending flow began with, also where it has moved, or another has taken its place. */
export async function recallDynamicClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
): Promise<OAuthClient | undefined> {
  const { registrations } = context.records
  const { clientId, redirectUri, authorizationServer } = reference
  const key = registrationKey(server.name, authorizationServer.issuer, redirectUri)
  for (const likely of [key, formerRegistrationKey(key, clientId)]) {
    const held = await registrations.get(likely)
    if (held?.value.clientId === clientId) return recall(context, { key: likely, held })
  }
  const [moved] = await registrationsOf(context, server, reference)
  return moved && recall(context, moved)
}

async function recall(context: OAuthContext, found: Found): Promise<OAuthClient | undefined> {
  return toClient((await renewIfDue(context, found)).held.value)
}

interface Found {
  readonly key: string
  readonly held: Versioned<Registration>
}

/** Every record of a client, wherever it is kept. */
async function registrationsOf(
  { records: { registrations } }: OAuthContext,
  server: Server,
  { clientId, authorizationServer: { issuer } }: ClientReference,
): Promise<Found[]> {
  const found: Found[] = []
  for await (const { key, value, version } of registrations.list()) {
    if (value.clientId === clientId && value.server === server.name && value.issuer === issuer) {
      found.push({ key, held: { value, version } })
    }
  }
  return found
}

/** A secret that is about to expire is renewed before it is used; where that fails, it is used as long as it lasts. */
async function renewIfDue(context: OAuthContext, found: Found): Promise<Found> {
  const { records, clock, logger } = context
  if (!isDue(found.held.value, clock()) || !isManaged(found.held.value)) return found
  return withRegistrationLease(
    context,
    found.key,
    async () => {
      const held = (await records.registrations.get(found.key)) ?? found.held
      if (!isDue(held.value, clock())) return { ...found, held }
      try {
        const renewed = await replaceRegistration(context, found.key, held, {})
        return { ...found, held: renewed.held }
      } catch (error) {
        if (!(error instanceof McpDcrError)) throw error
        logger.warn(`${error.code}: ${error.message}`, { server: held.value.server })
        return { ...found, held }
      }
    },
    'renew',
  )
}

/** Forgets a registration that its issuer does not know any more. */
export async function forgetClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
): Promise<void> {
  if (reference.clientSource !== 'dynamic') return
  for (const { key, held } of await registrationsOf(context, server, reference)) {
    await context.records.registrations.delete(key, held.version)
  }
}
