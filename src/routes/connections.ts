import type { Request } from 'express'
import { connectionStates, type ConnectionState } from '../connections.js'
import { jsonAnswer, pageAnswer } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isNavigation } from '../gateway/caller.js'
import type { GatewayContext } from '../gateway/context.js'
import { findLostFlow } from '../gateway/lost-flow.js'
import { connectionsPage } from '../pages/connections-page.js'
import type { Route } from './index.js'
import { requireUser, serversOfRequest } from './servers.js'

/** `GET /connections`: this user's servers and their states, with where to connect each; a page for people. */
export const connections: Route = async (context, req) => {
  const { config, oauth } = context
  const user = await requireUser(context, req)
  const servers = await serversOfRequest(context, req, user)
  const states = await connectionStates(oauth, user, servers)
  const views = await Promise.all(states.map((state) => describeForUser(context, req, user, state)))
  if (!isNavigation(req)) return jsonAnswer({ connections: views })
  const path = `${baseUrlOf(config, req)}${ROUTES_PATH}/connections`
  const rows = views.map((view) => ({ ...view, actionUrl: `${path}/${encodeURIComponent(view.server)}` }))
  return pageAnswer(connectionsPage(rows, oauth.clock()))
}

/** A state, and what this user can do about it in this browser. */
export async function describeForUser(
  context: GatewayContext,
  req: Request,
  user: string,
  state: ConnectionState,
): Promise<ConnectionState & { unfinished: boolean; authorizationUrl: string }> {
  return {
    ...state,
    unfinished: (await findLostFlow(context, req, user, state.server)) !== undefined,
    authorizationUrl: authorizeUrl(baseUrlOf(context.config, req), state.server),
  }
}
