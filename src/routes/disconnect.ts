import { baseUrlOf } from '../gateway/base-url.js'
import { disconnect as disconnectUser } from '../oauth/disconnect.js'
import type { Route } from './index.js'
import { assertSameOrigin } from './same-origin.js'
import { requireServer, requireUser } from './servers.js'

/** `DELETE /connections/:server`: revokes this user's tokens and deletes them; also where there are none. */
export const disconnect: Route = async (context, req) => {
  assertSameOrigin(req, baseUrlOf(context.config, req))
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  await disconnectUser(context.oauth, server, user)
  return { status: 204, headers: { 'cache-control': 'no-store' } }
}
