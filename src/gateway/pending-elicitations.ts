import { challengeKey, type GatewayContext, type PendingRequirement } from './context.js'

/** A URL that an MCP client was asked to open (MCP 2025-11-25, URL elicitation). */
export interface PendingElicitation {
  readonly elicitationId: string
  /** The client's session with whoever it sent its request to; undefined where it named none. */
  readonly sessionId: string | undefined
}

/** Of one user at one server; the oldest are forgotten. */
const MAX_PENDING = 20

/** Notes what a client is asked for, so that it can be told once that is done. */
export function noteElicitation(
  { elicitations }: GatewayContext,
  { user, server }: PendingRequirement,
  elicitation: PendingElicitation,
): void {
  const key = challengeKey(user, server)
  elicitations.set(key, [...(elicitations.get(key) ?? []), elicitation].slice(-MAX_PENDING))
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
