import type { McpDcrError } from './errors.js'
import type { Connection, Server } from './model.js'
import type { OAuthContext } from './oauth/context.js'
import { failureKey, type Failure } from './oauth/failures.js'
import { connectionKey } from './store/records.js'

/** How one user stands with one MCP server. Holds no secret. */
export interface ConnectionState {
  server: string
  url: string
  /**
   * - `connected`: requests carry a token.
   * - `expired`: the token has expired, and the next request, or a refresh, renews it without the person.
   * - `needs_authorization`: there was a connection, and only a sign-in brings it back.
   * - `not_connected`: there is none.
   * - `error`: there is no token that works, and signing in alone would not mend that: discovering the
   *   authorization server, registering there or refreshing failed when it was last tried, or the MCP server
   *   rejects the token of a brand-new sign-in. Known to this process alone, and gone once it succeeds.
   */
  state: 'connected' | 'expired' | 'needs_authorization' | 'not_connected' | 'error'
  /**
   * Of `error`: the error's code. Of `needs_authorization`: `token_expired` (and there is no refresh token),
   * `refresh_refused`, `client_invalid`, `token_rejected` (by the MCP server), or `encryption_key_mismatch` and
   * `store_corrupt`: what is stored of it does not open.
   */
  reason?: string
  /** What to do, where there is a reason. */
  fix?: string
  /** The scope that was granted. */
  scope?: string
  /** When the access token expires, in epoch milliseconds. */
  expiresAt?: number
  /** When the person last signed in, in epoch milliseconds. */
  connectedAt?: number
  /** Whether it can be refreshed without the person. */
  refreshable?: true
}

/** The states of a user's connections, one per server. */
export async function connectionStates(
  context: OAuthContext,
  user: string,
  servers: readonly Server[],
): Promise<ConnectionState[]> {
  const { connections } = context.records
  return Promise.all(
    servers.map(async (server) => {
      const key = connectionKey(user, server.name)
      const held = await connections.getOrBare(key)
      const state = connectionState(context, server, held?.value)
      return held?.unopened === undefined || held.value.serverUrl !== server.url
        ? state
        : unopenedState(state, held.unopened)
    }),
  )
}

/** A sign-in replaces it, without the key that is missing. */
function unopenedState(
  { server, url, connectedAt }: ConnectionState,
  { code, fix }: McpDcrError,
): ConnectionState {
  return {
    server,
    url,
    state: 'needs_authorization',
    reason: code,
    ...(fix !== undefined && { fix }),
    ...(connectedAt !== undefined && { connectedAt }),
  }
}

/** @param connection what is held of the user and a server of this name */
export function connectionState(
  { failures, clock }: Pick<OAuthContext, 'failures' | 'clock'>,
  server: Server,
  connection: Connection | undefined,
): ConnectionState {
  const base = { server: server.name, url: server.url }
  const ofServer = failures.get(failureKey(server))
  // Of another server that had this name.
  if (connection?.serverUrl !== server.url)
    return { ...base, ...(errorOf(ofServer) ?? { state: 'not_connected' }) }
  const { user, scope, expiresAt, connectedAt, refreshToken } = connection
  const isExpired = expiresAt !== undefined && expiresAt <= clock()
  const noted = failures.get(connectionKey(user, server.name))
  // What another instance has obtained since then is not what failed here.
  const failure = noted !== undefined && noted.at >= connection.obtainedAt ? noted : undefined
  return {
    ...base,
    ...stateOf(connection, isExpired, failure, ofServer),
    ...(scope !== undefined && { scope }),
    ...(expiresAt !== undefined && { expiresAt }),
    connectedAt,
    ...(refreshToken !== undefined && { refreshable: true }),
  }
}

type Standing = Pick<ConnectionState, 'state' | 'reason' | 'fix'>

function stateOf(
  { status, reason, refreshToken }: Connection,
  isExpired: boolean,
  failure: Failure | undefined,
  ofServer: Failure | undefined,
): Standing {
  if (status === 'needs_authorization') return errorOf(ofServer) ?? needsAuthorization(reason)
  if (failure?.code === 'token_rejected') return errorOf(failure) as Standing
  if (!isExpired) return { state: 'connected' }
  if (refreshToken === undefined) return errorOf(ofServer) ?? needsAuthorization('token_expired')
  return errorOf(failure) ?? { state: 'expired' }
}

function errorOf(failure: Failure | undefined): Standing | undefined {
  if (failure === undefined) return undefined
  const { code, fix } = failure
  return { state: 'error', reason: code, ...(fix !== undefined && { fix }) }
}

const FIXES: Readonly<Record<string, string>> = {
  token_expired: 'The token has expired, and the provider gave none to renew it with. Sign in again.',
  refresh_refused: 'The provider has ended this sign-in. Sign in again.',
  client_invalid: 'The provider does not accept the client of this sign-in any more. Sign in again.',
  token_rejected: 'The MCP server does not accept the token of this sign-in any more. Sign in again.',
}

function needsAuthorization(reason: string | undefined): Standing {
  return {
    state: 'needs_authorization',
    ...(reason !== undefined && { reason }),
    fix: FIXES[reason ?? ''] ?? 'Sign in again.',
  }
}
