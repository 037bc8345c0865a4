import { connectionState, type ConnectionState } from '../connections.js'
import { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { refresh } from '../oauth/refresh.js'
import { connectionKey } from '../store/records.js'
import type { GatewayContext } from './context.js'
import { authorizationRequired } from './require-authorization.js'

/**
 * Refreshes a user's connection now, whether or not its token is about to expire.
 *
 * @param baseUrl see {@link authorizationRequired}
 * @returns how the user stands with the server afterwards: where the provider refuses, they need to sign in
 * @throws McpDcrError `authorization_required` where the user is not connected; `nothing_to_refresh` where there is
 * no refresh token; `refresh_failed` where trying later may help, and what else `refresh` throws
 */
export async function refreshConnection(
  context: GatewayContext,
  server: Server,
  user: string,
  baseUrl: string | undefined,
): Promise<ConnectionState> {
  const { oauth } = context
  const held = (await oauth.records.connections.get(connectionKey(user, server.name)))?.value
  if (held?.status !== 'connected' || held.serverUrl !== server.url)
    throw authorizationRequired(context, { server, user, challenge: undefined }, baseUrl)
  // Without one, refreshing would end a connection whose token may still work.
  if (held.refreshToken === undefined) throw nothingToRefresh(server)
  return connectionState(oauth, server, await refresh(oauth, server, held))
}

function nothingToRefresh({ name }: Server): McpDcrError {
  return new McpDcrError('nothing_to_refresh', `The connection to "${name}" has no refresh token.`, {
    server: name,
    fix: 'It is used as long as its token lasts; then sign in again. The provider may give a refresh token for the scope offline_access, or to clients that its dashboard allows to have one.',
  })
}
