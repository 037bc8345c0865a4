import express, { type NextFunction, type Request, type Response, type Router } from 'express'
import { McpDcrError } from '../errors.js'
import { errorAnswer, sendAnswer, toMcpDcrError } from '../gateway/answer.js'
import type { GatewayContext } from '../gateway/context.js'
import type { Answer } from '../gateway/intercept.js'
import { authorize } from './authorize.js'
import { callback } from './callback.js'
import { clientMetadata } from './client-metadata.js'
import { connected } from './connected.js'
import { connections } from './connections.js'

/** One route: what it answers, or throws. */
export type Route = (context: GatewayContext, req: Request) => Answer | Promise<Answer>

/** What is mounted under `/api/oauth`. */
export function createRoutes(context: GatewayContext): Router {
  const router = express.Router()
  const mount = (path: string, route: Route): void => {
    router.get(path, (req: Request, res: Response, _next: NextFunction) => run(context, req, res, route))
  }
  mount('/callback', callback)
  mount('/authorize/:server', authorize)
  mount('/connected/:server', connected)
  mount('/connections', connections)
  mount('/client.json', clientMetadata)
  router.use((req, res) => run(context, req, res, notFound))
  // Malformed percent-encoding, which Express would answer with a page of its own.
  router.use((_error: unknown, req: Request, res: Response, _next: NextFunction) =>
    run(context, req, res, notFound),
  )
  return router
}

async function run(context: GatewayContext, req: Request, res: Response, route: Route): Promise<void> {
  try {
    sendAnswer(req, res, await route(context, req))
  } catch (thrown) {
    sendAnswer(req, res, errorAnswer(req, toMcpDcrError(thrown, context.config.logger)))
  }
}

function notFound(): never {
  throw new McpDcrError('not_found', 'There is nothing at this address.', {
    fix: 'Check the address, and go back to the page that you came from.',
  })
}
