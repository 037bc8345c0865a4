import type { Request, Response } from 'express'
import { McpDcrError } from '../errors.js'
import { answered, requirementAnswer } from './answer-failure.js'
import type { GatewayContext } from './context.js'
import { replaceResponse } from './intercept.js'
import { visitOf } from './visit.js'

/** How many causes of an error are looked at. */
const MAX_DEPTH = 10

/**
 * Answers an error that a handler has passed on to Express, where it is one of ours.
 *
 * @returns false where it is not, or where the response is on its way
 */
export function answerError(context: GatewayContext, req: Request, res: Response, thrown: unknown): boolean {
  const error = ownError(thrown)
  if (error === undefined || res.headersSent) return false
  const visit = visitOf(context, req)
  replaceResponse(res, () => answered(visit, () => requirementAnswer(visit, error)))
  return true
}

/** Libraries, the MCP SDK's transports among them, wrap what a `fetch` throws. */
function ownError(thrown: unknown): McpDcrError | undefined {
  let error = thrown
  for (let depth = 0; depth < MAX_DEPTH && error instanceof Error; depth++, error = error.cause) {
    if (error instanceof McpDcrError) return error
  }
  return undefined
}
