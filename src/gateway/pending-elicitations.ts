import type { Request } from 'express'
import type { AuthorizationRequiredError } from '../errors.js'
import { challengeKey, type GatewayContext } from './context.js'
import { sessionIdOf } from './mcp-client.js'

/** A URL that an MCP client was asked to open (MCP 2025-11-25, URL elicitation). */
export interface PendingElicitation {
  readonly elicitationId: string
  /** The client's session with whoever it sent its request to; undefined where it named none. */
  readonly sessionId: string | undefined
}

/** Of one user at one server; the oldest are forgotten. */
const MAX_PENDING = 20

/** Notes what a client is asked for, so that it can be told once that is done. */
export function noteElicitations(
  { elicitations }: GatewayContext,
  req: Request,
  user: string,
  error: AuthorizationRequiredError,
): void {
  const key = challengeKey(user, { name: error.server ?? '' })
  const sessionId = sessionIdOf(req)
  const asked = error.elicitations.map(({ elicitationId }) => ({ elicitationId, sessionId }))
  elicitations.set(key, [...(elicitations.get(key) ?? []), ...asked].slice(-MAX_PENDING))
}

/** Tells the `onElicitationComplete` option of each that a sign-in has answered. */
export async function completeElicitations(
  { elicitations, config }: GatewayContext,
  user: string,
  server: string,
): Promise<void> {
  const key = challengeKey(user, { name: server })
  const pending = elicitations.get(key) ?? []
  elicitations.delete(key)
  for (const elicitation of pending) {
    try {
      await config.onElicitationComplete?.({ user, server, ...elicitation })
    } catch (error) {
      config.logger.error('the onElicitationComplete option failed', { server, error })
    }
  }
}
