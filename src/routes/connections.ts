import { connectionStates } from '../connections.js'
import { jsonAnswer } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf } from '../gateway/base-url.js'
import type { Route } from './index.js'
import { requireUser, serversOfRequest } from './servers.js'

/** `GET /connections`: this user's servers and their states, with where to connect each. */
export const connections: Route = async (context, req) => {
  const { config, oauth } = context
  const user = await requireUser(context, req)
  const servers = await serversOfRequest(context, req, user)
  const baseUrl = baseUrlOf(config, req)
  const states = await connectionStates(oauth.records, user, servers, oauth.clock())
  return jsonAnswer({
    connections: states.map((state) => ({ ...state, authorizationUrl: authorizeUrl(baseUrl, state.server) })),
  })
}
