import type { IncomingMessage } from 'node:http'
import { McpDcrError } from '../errors.js'
import type { Connection, Server } from '../model.js'
import { needsAuthorization } from '../oauth/refresh.js'
import { connectionKey, type Versioned } from '../store/records.js'
import type { GatewayContext } from './context.js'
import { refreshInTime } from './refresh-in-time.js'
import { replaceHeader } from './replace-header.js'

/** How long before its expiry a token is refreshed, in milliseconds. */
const REFRESH_AHEAD = 60_000
/** How long a failed refresh is not repeated while the old token still works, in milliseconds. */
const REFRESH_PAUSE = 10_000

/** As {@link liveConnection}, where nothing has to be waited for; undefined where something has. */
export function connectionAtHand(
  { oauth: { records, clock } }: GatewayContext,
  server: Server,
  user: string,
): Connection | undefined {
  const connection = usable(server, records.connections.recent(connectionKey(user, server.name))?.value)
  return connection !== undefined && isFresh(connection, clock()) ? connection : undefined
}

/**
 * The user's live connection to a server, refreshed where its token is about to expire; undefined where
 * a sign-in is needed.
 *
 * @throws McpDcrError `refresh_failed` where the token has expired and cannot be refreshed just now
 */
export async function liveConnection(
  context: GatewayContext,
  server: Server,
  user: string,
): Promise<Connection | undefined> {
  const { records, clock } = context.oauth
  const key = connectionKey(user, server.name)
  const recent = records.connections.recent(key)
  const recalled =
    usable(server, recent?.value) === undefined
      ? await records.connections.recall(key, (value) => usable(server, value) !== undefined)
      : recent
  const connection = usable(server, recalled?.value)
  if (recalled === undefined || connection?.expiresAt === undefined) return connection
  if (isFresh(connection, clock())) return connection
  const remaining = connection.expiresAt - clock()
  if (connection.refreshToken === undefined)
    return remaining > 0 ? connection : usable(server, await dropExpired(context, key, recalled))
  if (remaining > 0 && (context.refreshPauses.get(key) ?? 0) > clock()) return connection
  try {
    return usable(server, await refreshInTime(context, server, connection))
  } catch (error) {
    if (remaining <= 0 || !(error instanceof McpDcrError && PASSING.has(error.code))) throw error
    context.refreshPauses.set(key, clock() + REFRESH_PAUSE)
    return connection
  }
}

/** What is held afterwards: another request may have been told first, or the person signed in again. */
async function dropExpired(
  { oauth }: GatewayContext,
  key: string,
  held: Versioned<Connection>,
): Promise<Connection | undefined> {
  try {
    return await needsAuthorization(oauth, key, held, 'token_expired')
  } catch {
    // That the store cannot be written is no reason to refuse a request that may need no token.
    return undefined
  }
}

/** Failures that leave the old token as it was. */
const PASSING = new Set([
  'refresh_failed',
  'client_invalid',
  'issuer_not_trusted',
  'store_write_failed',
  'store_unavailable',
  // Of the registration.
  'encryption_key_mismatch',
  'store_corrupt',
])

/** Whether it need not be refreshed yet; a token that lives for less than two minutes, up to half its life, or every request would. */
function isFresh({ expiresAt, obtainedAt }: Connection, now: number): boolean {
  return expiresAt === undefined || expiresAt - now > Math.min(REFRESH_AHEAD, (expiresAt - obtainedAt) / 2)
}

/** A token goes to the server that it was issued for, and to no other that took its name. */
function usable(server: Server, connection: Connection | undefined): Connection | undefined {
  return connection?.status === 'connected' && connection.serverUrl === server.url ? connection : undefined
}

/** Sets the upstream's `Authorization`. The client's own is removed whatever happens: it never goes upstream (SPEC 35). */
export function replaceAuthorization(req: IncomingMessage, accessToken: string | undefined): void {
  replaceHeader(req, 'authorization', accessToken === undefined ? undefined : `Bearer ${accessToken}`)
}
