import { connectionStates } from '../connections.js'
import { jsonAnswer, pageAnswer } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isNavigation } from '../gateway/caller.js'
import { findLostFlow } from '../gateway/lost-flow.js'
import { connectionsPage } from '../pages/connections-page.js'
import type { Route } from './index.js'
import { requireUser, serversOfRequest } from './servers.js'

/** `GET /connections`: this user's servers and their states, with where to connect each; a page for people. */
export const connections: Route = async (context, req) => {
  const { config, oauth } = context
  const user = await requireUser(context, req)
  const servers = await serversOfRequest(context, req, user)
  const baseUrl = baseUrlOf(config, req)
  const states = await connectionStates(oauth.records, user, servers, oauth.clock())
  const views = await Promise.all(
    states.map(async (state) => ({
      ...state,
      unfinished: (await findLostFlow(context, req, user, state.server)) !== undefined,
      authorizationUrl: authorizeUrl(baseUrl, state.server),
    })),
  )
  if (!isNavigation(req)) return jsonAnswer({ connections: views })
  const actionUrl = (name: string): string =>
    `${baseUrl}${ROUTES_PATH}/connections/${encodeURIComponent(name)}`
  return pageAnswer(connectionsPage(views.map((view) => ({ ...view, actionUrl: actionUrl(view.server) }))))
}
