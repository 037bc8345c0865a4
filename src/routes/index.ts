import express, { type NextFunction, type Request, type Response, type Router } from 'express'
import { McpDcrError } from '../errors.js'
import { errorAnswer, pageAnswer, sendAnswer, toMcpDcrError } from '../gateway/answer.js'
import { ROUTES_PATH } from '../gateway/base-url.js'
import { isFormSubmission } from '../gateway/caller.js'
import type { GatewayContext } from '../gateway/context.js'
import type { Answer } from '../gateway/intercept.js'
import type { Config } from '../options.js'
import { errorPage } from '../pages/error-page.js'
import { authorize } from './authorize.js'
import { callback } from './callback.js'
import { clientMetadata } from './client-metadata.js'
import { connected } from './connected.js'
import { connections } from './connections.js'
import { disconnect } from './disconnect.js'
import { refresh } from './refresh.js'
import { registerAgain } from './register-again.js'
import {
  deleteRegistration,
  listRegistrations,
  readRegistration,
  renewRegistration,
  requireAdmin,
  updateRegistration,
} from './registrations.js'

/** One route: what it answers, or throws. */
export type Route = (context: GatewayContext, req: Request) => Answer | Promise<Answer>

/** What is mounted under `/api/oauth`. */
export function createRoutes(context: GatewayContext): Router {
  const router = express.Router()
  const answer = (route: Route) => (req: Request, res: Response) => run(context, req, res, route)
  // Who may not change anything learns no more, whatever the body is.
  const unlessRefused = (req: Request, res: Response, next: NextFunction): void => {
    requireAdmin(context, req).then(
      () => next(),
      (thrown: unknown) => fail(context, req, res, thrown),
    )
  }
  router.get('/callback', answer(callback))
  router.get('/authorize/:server', answer(authorize))
  router.get('/connected/:server', answer(connected))
  router.get('/connections', answer(connections))
  router.delete('/connections/:server', answer(disconnect))
  router.post('/connections/:server/disconnect', answer(disconnect))
  router.post('/connections/:server/refresh', answer(refresh))
  router.post('/connections/:server/register', answer(registerAgain))
  router.get('/client.json', answer(clientMetadata))
  router.get('/registrations', answer(listRegistrations))
  router.get('/registrations/:id', answer(readRegistration))
  router.put('/registrations/:id', unlessRefused, express.json({ limit: '64kb' }), answer(updateRegistration))
  router.post('/registrations/:id/renew', answer(renewRegistration))
  router.delete('/registrations/:id', answer(deleteRegistration))
  router.use((req, res) => run(context, req, res, notFound))
  // Malformed percent-encoding, or a body that is no JSON; Express would answer with a page of its own.
  router.use((error: { type?: unknown }, req: Request, res: Response, _next: NextFunction) =>
    run(context, req, res, error.type === undefined ? notFound : badBody),
  )
  return router
}

async function run(context: GatewayContext, req: Request, res: Response, route: Route): Promise<void> {
  try {
    sendAnswer(req, res, await route(context, req))
  } catch (thrown) {
    fail(context, req, res, thrown)
  }
}

function fail({ config }: GatewayContext, req: Request, res: Response, thrown: unknown): void {
  const error = toMcpDcrError(thrown, config.logger)
  sendAnswer(req, res, isFormSubmission(req) ? formErrorAnswer(config, error) : errorAnswer(req, error))
}

/** The forms are those of the connections page: it shows how things stand now. */
function formErrorAnswer({ baseUrl = '' }: Config, error: McpDcrError): Answer {
  const url = `${baseUrl}${ROUTES_PATH}/connections`
  return pageAnswer(errorPage(error, url, 'Back to the connections'), error.status)
}

function notFound(): never {
  throw new McpDcrError('not_found', 'There is nothing at this address.', {
    fix: 'Check the address, and go back to the page that you came from.',
  })
}

function badBody(): never {
  throw new McpDcrError('invalid_request', 'The body is no JSON, or too long.', {
    fix: 'Send a JSON object of less than 64 KB, as application/json.',
  })
}
