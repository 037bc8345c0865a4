import { connectionStates } from '../connections.js'
import { jsonAnswer, pageAnswer } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isNavigation } from '../gateway/caller.js'
import { challengeKey } from '../gateway/context.js'
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
  const views = states.map((state) => ({
    ...state,
    unfinished:
      context.unfinished.get(challengeKey(user, { name: state.server }))?.clientSource === 'dynamic',
    authorizationUrl: authorizeUrl(baseUrl, state.server),
  }))
  if (!isNavigation(req)) return jsonAnswer({ connections: views })
  const actionUrl = (name: string): string =>
    `${baseUrl}${ROUTES_PATH}/connections/${encodeURIComponent(name)}`
  return pageAnswer(connectionsPage(views.map((view) => ({ ...view, actionUrl: actionUrl(view.server) }))))
}
