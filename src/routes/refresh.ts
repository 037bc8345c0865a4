import { jsonAnswer, redirectAnswer } from '../gateway/answer.js'
import { baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isFormSubmission } from '../gateway/caller.js'
import { refreshConnection } from '../gateway/refresh-connection.js'
import { describeForUser } from './connections.js'
import type { Route } from './index.js'
import { assertSameOrigin } from './same-origin.js'
import { requireServer, requireUser } from './servers.js'

/** `POST /connections/:server/refresh`: refreshes this user's connection now, and answers its new state. */
export const refresh: Route = async (context, req) => {
  const baseUrl = baseUrlOf(context.config, req)
  assertSameOrigin(req, baseUrl)
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  const state = await refreshConnection(context, server, user, baseUrl)
  return isFormSubmission(req)
    ? redirectAnswer(`${baseUrl}${ROUTES_PATH}/connections`, 303)
    : jsonAnswer({ connection: await describeForUser(context, req, user, state) })
}
