import { McpDcrError } from '../errors.js'
import { pageAnswer } from '../gateway/answer.js'
import { connectedPage } from '../pages/connected-page.js'
import { connectionKey } from '../store/records.js'
import type { Route } from './index.js'
import { requireServer, requireUser } from './servers.js'

/** `GET /connected/:server`: where a sign-in ends that did not begin on a page of the gateway. */
export const connected: Route = async (context, req) => {
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  const connection = await context.oauth.records.connections.get(connectionKey(user, server.name))
  if (connection?.value.status === 'connected') return pageAnswer(connectedPage(server.name))
  throw new McpDcrError('not_found', `You are not connected to "${server.name}".`, {
    server: server.name,
    fix: 'Connect on the gateway’s page, or open the URL that your program showed you.',
  })
}
