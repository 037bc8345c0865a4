import { McpDcrError } from '../errors.js'
import type { OAuthClient, Server } from '../model.js'
import type { FoundRegistration } from '../store/records.js'
import { formerRegistrationKey, registrationKey, serverPrefix } from '../store/records.js'
import type { OAuthContext } from './context.js'
import type { ClientReference } from './ensure-client.js'
import { deleteQuietly, replaceRegistration } from './manage-registration.js'
import { withRegistrationLease } from './registration-lease.js'
import { isDue, isManaged, toClient } from './registration-state.js'

/** The client that a connection or a pending flow began with, also where it has moved, or another has taken its place. */
export async function recallDynamicClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
): Promise<OAuthClient | undefined> {
  const found = await findClient(context, server, reference)
  return found && toClient(await renewIfDue(context, found))
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
  const [moved] = await recordsOf(context, server, reference)
  return moved
}

/** Every record of a client, wherever it is kept. */
async function recordsOf(
  { records: { registrations } }: OAuthContext,
  server: Server,
  { clientId, authorizationServer: { issuer } }: ClientReference,
): Promise<FoundRegistration[]> {
  const found: FoundRegistration[] = []
  for await (const record of registrations.list(serverPrefix(server.name))) {
    if (record.value.clientId === clientId && record.value.issuer === issuer) found.push(record)
  }
  return found
}

/** A secret that is about to expire is renewed before it is used; where that fails, it is used as long as it lasts. */
async function renewIfDue(
  context: OAuthContext,
  found: FoundRegistration,
): Promise<FoundRegistration['value']> {
  const { records, clock, logger } = context
  if (!isDue(found.value, clock()) || !isManaged(found.value)) return found.value
  return withRegistrationLease(
    context,
    found.value,
    async () => {
      const held = (await records.registrations.get(found.key)) ?? found
      if (!isDue(held.value, clock())) return held.value
      try {
        return (await replaceRegistration(context, found.key, held, {})).held.value
      } catch (error) {
        if (!(error instanceof McpDcrError)) throw error
        logger.warn(`${error.code}: ${error.message}`, { server: held.value.server })
        return held.value
      }
    },
    `renew ${found.key}`,
  )
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
    if (found.some(({ value }) => value.clientSecret !== used.clientSecret)) return false
    for (const { key, value, version } of found) {
      await deleteQuietly(context, value)
      await context.records.registrations.delete(key, version)
    }
    return true
  })
}
