import { prepareAuthorization } from '../oauth/authorize.js'
import { redirectAnswer } from '../gateway/answer.js'
import { authorizeUrl, isOnBaseHost } from '../gateway/base-url.js'
import { authorizationRequest, redirectIntoFlow } from '../gateway/require-authorization.js'
import { returnPath } from '../gateway/return-path.js'
import type { Route } from './index.js'
import { requireServer, requireUser } from './servers.js'

/** `GET /authorize/:server`: begins a sign-in for whoever opens it. */
export const authorize: Route = async (context, req) => {
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  const known = await authorizationRequest(context, req, server, user, returnPath(req.query['return_to']))
  const ownHost = new URL(known.baseUrl).host
  if (context.config.baseUrl === undefined && !isOnBaseHost(req, known.baseUrl)) {
    // Here the base URL is known to be this very process: one redirect brings the browser to its host.
    return redirectAnswer(authorizeUrl(`http://${ownHost}`, server.name, known.returnTo), 302)
  }
  // Who comes by the URL alone, or to another instance than before, has met none here (SPEC 4, 6).
  const challenge = known.challenge ?? (await context.serverChallenges.of(server))
  const request = { ...known, challenge }
  return redirectIntoFlow(
    context,
    req,
    request,
    await prepareAuthorization(context.oauth, request, { fresh: false }),
  )
}
