import type { Connection, Server } from './model.js'
import type { Records } from './store/records.js'
import { connectionKey } from './store/records.js'

/** How one user stands with one MCP server. Holds no secret. */
export interface ConnectionState {
  server: string
  url: string
  /** `expired`: the token has expired and the next request refreshes it, or asks for a sign-in. */
  state: 'connected' | 'expired' | 'needs_authorization' | 'not_connected'
  /** Why it needs authorization: an error code. */
  reason?: string
  /** The scope that was granted. */
  scope?: string
  /** When the access token expires, in epoch milliseconds. */
  expiresAt?: number
  /** When the person last signed in, in epoch milliseconds. */
  connectedAt?: number
}

/** The states of a user's connections, one per server. */
export async function connectionStates(
  records: Records,
  user: string,
  servers: readonly Server[],
  now: number,
): Promise<ConnectionState[]> {
  return Promise.all(
    servers.map(async (server) => {
      const connection = (await records.connections.get(connectionKey(user, server.name)))?.value
      return describe(server, connection?.serverUrl === server.url ? connection : undefined, now)
    }),
  )
}

function describe(server: Server, connection: Connection | undefined, now: number): ConnectionState {
  const base = { server: server.name, url: server.url }
  if (connection === undefined) return { ...base, state: 'not_connected' }
  const { status, reason, scope, expiresAt, connectedAt } = connection
  return {
    ...base,
    state: status === 'connected' && expiresAt !== undefined && expiresAt <= now ? 'expired' : status,
    ...(reason !== undefined && { reason }),
    ...(scope !== undefined && { scope }),
    ...(expiresAt !== undefined && { expiresAt }),
    connectedAt,
  }
}
