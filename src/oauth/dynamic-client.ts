import { McpDcrError } from '../errors.js'
import type { OAuthClient, Registration } from '../model.js'
import {
  formerRegistrationKey,
  registrationKey,
  serverPrefix,
  type FoundRegistration,
  type Versioned,
  type Records,
} from '../store/records.js'
import type { OAuthContext } from './context.js'
import type { ClientRequest } from './ensure-client.js'
import { isPassing, replaceRegistration } from './manage-registration.js'
import { attemptOf, dropManagement, registerAnew, widened } from './register-anew.js'
import { assertNotTooMany } from './met-issuers.js'
import { redirectUriOf } from './redirect-uri.js'
import { assertNotPaused, pauseOf } from './registration-pauses.js'
import { assertMayRegister } from './unusable-clients.js'
import { withRegistrationLease } from './registration-lease.js'
import { registrationRequest } from './registration-request.js'
import {
  changesOf,
  isScopeless,
  fits,
  hasDrifted,
  isDue,
  isExpired,
  isManaged,
  isReplaced,
  toClient,
} from './registration-state.js'

/**
 * The registered client for an MCP server, issuer and redirect URI. Where there is none, one is registered;
 * one that is no longer as it should be is replaced at the issuer (RFC 7592), or else registered again. One of
 * these is in flight per MCP server and issuer, in all instances (SPEC 20).
 */
export async function dynamicClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const redirectUri = redirectUriOf(request.baseUrl)
  const { server, discovered, scope } = request
  const { issuer } = discovered.authorizationServer
  const { registrations } = context.records
  const key = registrationKey(server.name, issuer, redirectUri)
  const first = (await registrations.get(key))?.value
  const known = current(context, request, first) ?? (await currentFormer(context, request, key, first))
  if (known !== undefined) return known
  return withRegistrationLease(
    context,
    { server: server.name, issuer },
    async () => {
      const held = await registrations.get(key)
      return (
        current(context, request, held?.value) ??
        (await currentFormer(context, request, key, held?.value)) ??
        (await bringUpToDate(context, request, key, held)) ??
        registerOrMakeDo(context, request, key)
      )
    },
    JSON.stringify([redirectUri, server.url, scope]),
  )
}

/** Where registering again is refused, an initial access token that has run out say, the client that is held is used as long as it will do. */
async function registerOrMakeDo(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
): Promise<OAuthClient> {
  const { registrations } = context.records
  const held = await registrations.get(key)
  const { server, discovered } = request
  const { issuer } = discovered.authorizationServer
  try {
    const attempt = attemptOf(context, request, held?.value)
    await assertMayRegister(context, attempt)
    assertNotPaused(context, attempt)
    await assertNotTooMany(context, server, issuer)
    return await registerAnew(context, request, key, held)
  } catch (error) {
    const before = held?.value.status === 'registering' ? await newestFormer(registrations, key) : held?.value
    const ofUse = before !== undefined && fits(before, request, context.clock()) ? before : undefined
    const client = toClient(ofUse)
    if (client === undefined || !(error instanceof McpDcrError)) throw error
    context.logger.warn(
      `${error.code}: ${error.message} The client that is held is used as long as it lasts.`,
      {
        server: server.name,
      },
    )
    return client
  }
}

/** The client, if it is as it would be registered today, may ask for this scope, and has a secret to last. */
function current(
  context: OAuthContext,
  request: ClientRequest,
  registration: Registration | undefined,
): OAuthClient | undefined {
  const now = context.clock()
  if (registration === undefined || !fits(registration, request, now) || isDue(registration, now))
    return undefined
  return hasDrifted(registration, wanted(context, request), request.server)
    ? undefined
    : toClient(registration)
}

/**
 * The newest client that was registered for just this and has been replaced: another MCP server has the same name by
 * turns, or another release of the gateway, with other metadata, shares the store.
 */
async function currentFormer(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
  held: Registration | undefined,
): Promise<OAuthClient | undefined> {
  // One that is being replaced was found wanting.
  const isBeingReplaced = held?.status === 'registering' && held.serverUrl === request.server.url
  if (held === undefined || isBeingReplaced) return undefined
  const { registrations } = context.records
  const isCurrent = (value: Registration): boolean => current(context, request, value) !== undefined
  return toClient(await newestFormer(registrations, key, isCurrent))
}

function wanted({ clientName }: OAuthContext, request: ClientRequest): Record<string, unknown> {
  const { server, discovered, scope, baseUrl } = request
  const description = { clientName, redirectUri: redirectUriOf(baseUrl) }
  return registrationRequest(server, discovered.authorizationServer, description, scope)
}

/** The newest client that has been replaced, or was being replaced when the attempt was cut off. */
async function newestFormer(
  registrations: Records['registrations'],
  key: string,
  isOfUse: (value: Registration) => boolean = () => true,
): Promise<Registration | undefined> {
  let newest: Registration | undefined
  for await (const { value } of registrations.list(formerRegistrationKey(key, ''))) {
    if (isOfUse(value) && (newest === undefined || value.createdAt >= newest.createdAt)) newest = value
  }
  return newest
}

/**
 * Replaces a registration at its issuer where that is possible; undefined where it takes another one. With a
 * new redirect URI it is the one for the former URI that moves.
 */
async function bringUpToDate(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
  held: Versioned<Registration> | undefined,
): Promise<OAuthClient | undefined> {
  // Where it is refused, another client is tried next: the pause after that holds up both.
  if (pauseOf(context, attemptOf(context, request, held?.value)) !== undefined) return undefined
  const source = held === undefined ? await findMoved(context, request) : { key, ...held }
  if (source === undefined) return undefined
  const { value } = source
  if (value.serverUrl !== request.server.url || !isManaged(value) || value.status !== 'registered')
    return undefined
  const changes = changesOf(value, wanted(context, request), request.server)
  // A client that was registered without a scope keeps what the server gave it.
  const scope = isScopeless(value) ? {} : { scope: widened(request, value) ?? '' }
  try {
    const replaced = await replaceRegistration(context, source.key, source, { ...changes, ...scope })
    if (source.key !== key)
      await move(context, source.key, replaced.held, key, redirectUriOf(request.baseUrl))
    const now = (await context.records.registrations.get(key))?.value
    context.logger.info('updated a registration', { server: value.server, issuer: value.issuer })
    return current(context, request, now)
  } catch (error) {
    return afterFailure(context, request, source, key, error)
  }
}

/**
 * A passing failure leaves the client in use as long as it will do (undefined: it will not, and another is
 * registered); one that the issuer does not know any more is good for refreshing at the most.
 */
async function afterFailure(
  context: OAuthContext,
  request: ClientRequest,
  failed: FoundRegistration,
  key: string,
  error: unknown,
): Promise<OAuthClient | undefined> {
  if (!(error instanceof McpDcrError)) throw error
  context.logger.warn(`${error.code}: ${error.message}`, { server: request.server.name })
  const { registrations } = context.records
  if (error.code === 'registration_gone') {
    const { clientId = '' } = failed.value
    const client = await registerOrMakeDo(context, request, key)
    if (client.clientId === clientId) return client
    await dropManagement(context, failed.key === key ? formerRegistrationKey(key, clientId) : failed.key)
    return client
  }
  if (error.code !== 'management_failed') throw error
  if (!isPassing(error) || failed.key !== key) return undefined
  const now = context.clock()
  const latest = (await registrations.get(key))?.value
  if (latest === undefined || isExpired(latest, now)) return undefined
  if (fits(latest, request, now)) return toClient(latest)
  throw error
}

/**
 * The registration for another redirect URI of this gateway: its base URL, or its port, has changed. One that
 * has itself moved away from this URI is in use there: then both are, and each has its own.
 */
async function findMoved(
  { records: { registrations } }: OAuthContext,
  { server, discovered, baseUrl }: ClientRequest,
): Promise<FoundRegistration | undefined> {
  const redirectUri = redirectUriOf(baseUrl)
  for await (const found of registrations.list(serverPrefix(server.name))) {
    const { key, value } = found
    if (
      value.serverUrl === server.url &&
      value.issuer === discovered.authorizationServer.issuer &&
      value.movedFrom?.includes(redirectUri) !== true &&
      value.status === 'registered' &&
      isManaged(value) &&
      !isReplaced(key, value)
    ) {
      return found
    }
  }
  return undefined
}

/** Of the redirect URIs from which a registration has moved. */
const MAX_MOVES = 16

async function move(
  { records: { registrations } }: OAuthContext,
  from: string,
  held: Versioned<Registration>,
  to: string,
  redirectUri: string,
): Promise<void> {
  const { value } = held
  const movedFrom = [...(value.movedFrom ?? []), value.redirectUri].slice(-MAX_MOVES)
  const moved = { ...value, redirectUri, movedFrom }
  if (await registrations.save(to, undefined, moved)) await registrations.delete(from, held)
}
