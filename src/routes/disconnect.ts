import { redirectAnswer } from '../gateway/answer.js'
import { baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isFormSubmission } from '../gateway/caller.js'
import { disconnect as disconnectUser } from '../oauth/disconnect.js'
import type { Route } from './index.js'
import { assertSameOrigin } from './same-origin.js'
import { requireServer, requireUser } from './servers.js'

/**
 * `DELETE /connections/:server`, or a form's `POST /connections/:server/disconnect`: revokes this user's tokens
 * and deletes them; also where there are none.
 */
export const disconnect: Route = async (context, req) => {
  const baseUrl = baseUrlOf(context.config, req)
  assertSameOrigin(req, baseUrl)
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  await disconnectUser(context.oauth, server, user)
  return isFormSubmission(req)
    ? redirectAnswer(`${baseUrl}${ROUTES_PATH}/connections`, 303)
    : { status: 204, headers: { 'cache-control': 'no-store' } }
}
