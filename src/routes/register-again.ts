import { McpDcrError } from '../errors.js'
import { jsonAnswer, redirectAnswer } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { isFormSubmission } from '../gateway/caller.js'
import { findLostFlow } from '../gateway/lost-flow.js'
import { registerAgain as registerClientAgain } from '../oauth/register-again.js'
import { withRegistrationLease } from '../oauth/registration-lease.js'
import type { Route } from './index.js'
import { assertSameOrigin } from './same-origin.js'
import { requireServer, requireUser } from './servers.js'

/**
 * `POST /connections/:server/register`: for a person whose sign-in never came back, since the provider has
 * dropped the client and says so on its own page alone (SPEC 45). Once for each registration; where somebody
 * else was faster, there is nothing left to do.
 */
export const registerAgain: Route = async (context, req) => {
  const baseUrl = baseUrlOf(context.config, req)
  assertSameOrigin(req, baseUrl)
  const user = await requireUser(context, req)
  const server = await requireServer(context, req, user, req.params['server'])
  const lost = await findLostFlow(context, req, user, server.name)
  if (lost === undefined) {
    throw new McpDcrError(
      'invalid_request',
      `No sign-in to "${server.name}" that you began in this browser needs a new registration.`,
      {
        server: server.name,
        fix: 'Connect first. A client that was registered dynamically can be registered again, once in ten minutes.',
      },
    )
  }
  const { flow, key } = lost
  await withRegistrationLease(
    context.oauth,
    { server: server.name, issuer: flow.authorizationServer.issuer },
    async () => {
      const held = await context.oauth.records.registrations.get(key)
      // Anew: that the issuer knows the client says nothing about what went wrong in the browser.
      if (held?.value.clientId === flow.clientId) {
        await registerClientAgain(context.oauth, server, key, held, { anew: true })
        await context.oauth.notes.add('registered_again', key)
      }
    },
  )
  // Not into the flow at once: a page's `form-action 'self'` holds for the redirects that follow its forms.
  return isFormSubmission(req)
    ? redirectAnswer(`${baseUrl}${ROUTES_PATH}/connections`, 303)
    : jsonAnswer({ authorizationUrl: authorizeUrl(baseUrl, server.name) })
}
