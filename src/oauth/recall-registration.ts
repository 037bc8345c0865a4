import { McpDcrError } from '../errors.js'
import type { OAuthClient, Registration, Server } from '../model.js'
import {
  formerRegistrationKey,
  registrationKey,
  serverPrefix,
  type FoundRegistration,
  type Versioned,
} from '../store/records.js'
import type { OAuthContext } from './context.js'
import type { ClientReference } from './ensure-client.js'
import { emitRegistration } from './events.js'
import { deleteQuietly, replaceRegistration } from './manage-registration.js'
import { noteUnusable } from './unusable-clients.js'
import { withRegistrationLease } from './registration-lease.js'
import { isDue, isManaged, isReplaced, mayBeRenewed, toClient } from './registration-state.js'

/** The client that a connection or a pending flow began with, also where it has moved, or another has taken its place. */
export async function recallDynamicClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
  renew: boolean,
): Promise<OAuthClient | undefined> {
  const found = await findClient(context, server, reference)
  return found && toClient(renew ? await renewIfDue(context, found) : found.value)
}

async function findClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
): Promise<FoundRegistration | undefined> {
  const { clientId, redirectUri, authorizationServer } = reference
  const key = registrationKey(server.name, authorizationServer.issuer, redirectUri)
  for (const likely of [key, formerRegistrationKey(key, clientId)]) {
    const held = await context.records.registrations.get(likely)
    if (held?.value.clientId === clientId) return { key: likely, ...held }
  }
  // Bare: one that does not open is not gone.
  for await (const { key: moved, value } of context.records.registrations.listBare(
    serverPrefix(server.name),
  )) {
    if (!isOf(reference, value)) continue
    const held = await context.records.registrations.get(moved)
    if (held !== undefined) return { key: moved, ...held }
  }
  return undefined
}

function isOf(
  { clientId, authorizationServer }: ClientReference,
  registration: Pick<Registration, 'clientId' | 'issuer'>,
): boolean {
  return registration.clientId === clientId && registration.issuer === authorizationServer.issuer
}

/** Every record of a client, wherever it is kept. */
async function recordsOf(
  { records: { registrations } }: OAuthContext,
  server: Server,
  reference: ClientReference,
): Promise<FoundRegistration[]> {
  const found: FoundRegistration[] = []
  for await (const record of registrations.list(serverPrefix(server.name))) {
    if (isOf(reference, record.value)) found.push(record)
  }
  return found
}

/** A secret that is about to expire is renewed before it is used; where that fails, it is used as long as it lasts. */
async function renewIfDue(context: OAuthContext, { key, value }: FoundRegistration): Promise<Registration> {
  const { records, clock } = context
  const isToBeRenewed = (registration: Registration): boolean =>
    isDue(registration, clock()) && isManaged(registration) && mayBeRenewed(registration, clock())
  if (!isToBeRenewed(value)) return value
  const renew = async (): Promise<Registration> => {
    const held = await records.registrations.get(key)
    if (held === undefined || !isToBeRenewed(held.value)) return held?.value ?? value
    const after = await replaceOrKeep(context, key, held)
    if (!isDue(after.value, clock())) return after.value
    const tried = { ...after.value, renewalTriedAt: clock() }
    await records.registrations.save(key, after, tried)
    return tried
  }
  return withRegistrationLease(context, value, renew, `renew ${key}`)
}

async function replaceOrKeep(
  context: OAuthContext,
  key: string,
  held: Versioned<Registration>,
): Promise<Versioned<Registration>> {
  try {
    return (await replaceRegistration(context, key, held, {})).held
  } catch (error) {
    if (!(error instanceof McpDcrError)) throw error
    context.logger.warn(`${error.code}: ${error.message}`, { server: held.value.server })
    return (await context.records.registrations.get(key)) ?? held
  }
}

/**
 * Forgets a registration whose client its issuer refused, and deletes it there in case that it is alive.
 *
 * @param used the client as it was refused; undefined where it was not held any more
 * @returns false where its secret was renewed meanwhile: then it is kept
 */
export async function forgetClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
  used: OAuthClient | undefined,
): Promise<boolean> {
  if (reference.clientSource !== 'dynamic' || used === undefined) return true
  const { issuer } = reference.authorizationServer
  return withRegistrationLease(context, { server: server.name, issuer }, async () => {
    const found = await recordsOf(context, server, reference)
    const refused = found.filter(({ value }) => value.clientSecret === used.clientSecret)
    // Where none is held any more, another request was refused as well, and has forgotten it already.
    if (refused.length === 0) return found.length === 0
    context.logger.warn('the issuer refuses a client; it is forgotten', { server: server.name, issuer })
    // Of the successor of one that was replaced this says nothing.
    const current = refused.find(({ key, value }) => !isReplaced(key, value))
    if (current !== undefined) await noteUnusable(context, current.value)
    const deleted: Registration[] = []
    for (const found of refused) {
      await deleteQuietly(context, found.value)
      if (await context.records.registrations.delete(found.key, found)) deleted.push(found.value)
    }
    // One client, wherever it was kept.
    if (deleted[0] !== undefined) emitRegistration(context, 'registration_deleted', deleted[0])
    return true
  })
}
