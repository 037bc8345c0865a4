import { McpDcrError } from '../errors.js'
import type { Registration, Server } from '../model.js'
import { connectionKey, serverPrefix } from '../store/records.js'
import { bareServer } from './bare-server.js'
import type { OAuthContext } from './context.js'
import { withRegistrationLease } from './dynamic-client.js'
import { deleteRegistration } from './manage-registration.js'
import { isManaged } from './registration-state.js'
import { revokeTokens } from './revoke.js'

/**
 * Ends a user's connection: revokes its tokens, then deletes it, whatever the issuer answers. Under the lease
 * of a refresh, which would otherwise get tokens that nobody revokes.
 *
 * @returns whether there was one
 * @throws McpDcrError what the store throws
 */
export async function disconnect(context: OAuthContext, server: Server, user: string): Promise<boolean> {
  const key = connectionKey(user, server.name)
  const { connections } = context.records
  return context.leases.withLease(`refresh ${key}`, 4 * context.timeout + 5_000, async () => {
    const held = await connections.get(key)
    if (held === undefined) return false
    await revokeTokens(context, server, held.value)
    context.unsaved.delete(key)
    // A sign-in in the meantime is a connection of its own, and stays.
    await connections.delete(key, held.version)
    context.logger.info('disconnected', { server: server.name })
    return true
  })
}

/**
 * Deletes all that is held of a server: every user's connection, then its registrations, at their issuer too
 * where it lets us (RFC 7592 §2.3). What cannot be deleted there is logged.
 *
 * @param declared undefined where the server is not declared any more
 * @throws McpDcrError what the store throws
 */
export async function forgetServer(
  context: OAuthContext,
  name: string,
  declared: Server | undefined,
): Promise<void> {
  const { connections, registrations } = context.records
  for await (const { key, value } of connections.list()) {
    if (!key.startsWith(serverPrefix(name))) continue
    await disconnect(context, declared ?? bareServer(name, value.serverUrl), value.user)
  }
  for await (const { key } of registrations.list()) {
    if (key.startsWith(serverPrefix(name))) await forgetRegistration(context, key)
  }
  context.logger.info('forgot a server', { server: name })
}

async function forgetRegistration(context: OAuthContext, key: string): Promise<void> {
  const { registrations } = context.records
  await withRegistrationLease(context, key, async () => {
    const held = await registrations.get(key)
    if (held === undefined) return
    await deleteAtIssuer(context, held.value)
    await registrations.delete(key, held.version)
  })
}

async function deleteAtIssuer(context: OAuthContext, registration: Registration): Promise<void> {
  if (!isManaged(registration)) return
  try {
    await deleteRegistration(context, registration)
  } catch (error) {
    if (!(error instanceof McpDcrError)) throw error
    context.logger.warn(`${error.code}: ${error.message} It is forgotten here all the same.`, {
      server: registration.server,
      clientId: registration.clientId,
    })
  }
}
