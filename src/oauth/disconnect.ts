import { forEachOf } from '../for-each.js'
import type { Connection, Server } from '../model.js'
import { connectionKey, serverPrefix, type Bare } from '../store/records.js'
import { bareServer } from './bare-server.js'
import { withConnectionLease } from './connection-lease.js'
import type { OAuthContext } from './context.js'
import { connectionEvent, emitRegistration } from './events.js'
import { deleteQuietly } from './manage-registration.js'
import { withRegistrationLease } from './registration-lease.js'
import { revokeTokens } from './revoke.js'
import { warnOfUnopened } from './warn-of-unopened.js'

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
  return withConnectionLease(context, key, async () => {
    const held = await connections.getOrBare(key)
    if (held === undefined) return false
    if (held.unopened === undefined) await revokeTokens(context, server, held.value)
    else warnOfUnopened(context, held)
    // A sign-in in the meantime is a connection of its own, and stays.
    const isDeleted = await connections.delete(key, held)
    if (isDeleted) context.emit({ type: 'disconnected', ...connectionEvent(held.value) })
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
  const { registrations } = context.records
  await disconnectAll(context, name, declared)
  // A crash may have left a client in two places.
  const told = new Set<string>()
  for await (const { key, value } of registrations.listBare(serverPrefix(name))) {
    await withRegistrationLease(context, value, async () => {
      const held = await registrations.getOrBare(key)
      if (held === undefined) return
      if (held.unopened === undefined) await deleteQuietly(context, held.value)
      else warnOfUnopened(context, held)
      const isDeleted = await registrations.delete(key, held)
      const client = JSON.stringify([held.value.issuer, held.value.clientId])
      if (!isDeleted || told.has(client)) return
      told.add(client)
      emitRegistration(context, 'registration_deleted', held.value)
    })
  }
  // Whoever has signed in meanwhile did so by a client that is gone by now.
  await disconnectAll(context, name, declared)
  context.logger.info('forgot a server', { server: name })
}

async function disconnectAll(
  context: OAuthContext,
  name: string,
  declared: Server | undefined,
): Promise<void> {
  const { connections } = context.records
  const held: Bare<Connection>[] = []
  for await (const { value } of connections.listBare(serverPrefix(name))) held.push(value)
  await forEachOf(held, AT_ONCE, ({ serverUrl, user }) =>
    disconnect(context, declared ?? bareServer(name, serverUrl), user),
  )
}

/** Disconnections under way together: an issuer that does not answer holds each up, for two requests. */
const AT_ONCE = 16
