import type { Connection, Logger, Registration } from '../model.js'

interface OfServer {
  /** The MCP server's name. */
  readonly server: string
  /** The authorization server's issuer identifier. */
  readonly issuer: string
  readonly clientId: string
  /** When it happened, in epoch milliseconds. */
  readonly at: number
}

/** A change of one user's connection. */
export interface ConnectionEvent extends OfServer {
  /**
   * `connected`: the person has signed in, for the first time or again. `refreshed`: the access token was renewed
   * without them. `disconnected`: the tokens were revoked, as far as the issuer lets us, and deleted.
   */
  readonly type: 'connected' | 'refreshed' | 'disconnected'
  readonly user: string
}

/** A user has to sign in again: the tokens are of no use any more, and were deleted. */
export interface NeedsAuthorizationEvent extends OfServer {
  readonly type: 'needs_authorization'
  readonly user: string
  /** Why, as in {@link ConnectionState}: `token_expired`, `refresh_refused`, `client_invalid`, `token_rejected`. */
  readonly reason: string
}

/**
 * A client was registered (RFC 7591), or one was given up: deleted here and, where it lets us, at its issuer. An
 * update or a renewal that keeps the client is neither. A client that lost a race against another instance’s is
 * given up without ever having been in use.
 */
export interface RegistrationEvent extends OfServer {
  readonly type: 'registered' | 'registration_deleted'
}

/** A change of state, once it is stored. Holds no secret. */
export type McpDcrEvent = ConnectionEvent | NeedsAuthorizationEvent | RegistrationEvent

/** What is told to `onEvent`. */
export type OnEvent = (event: McpDcrEvent) => void | Promise<void>

type WithoutTime<T> = T extends unknown ? Omit<T, 'at'> : never

/** Tells of a change that is stored. Never throws, and waits for nobody. */
export type Emit = (event: WithoutTime<McpDcrEvent>) => void

/** @param onEvent what it throws, or rejects with, is logged; it may not disturb what it is told of */
export function createEmit(
  onEvent: OnEvent | undefined,
  { clock, logger }: { clock: () => number; logger: Logger },
): Emit {
  if (onEvent === undefined) return () => undefined
  return (event) => {
    const failed = (thrown: unknown): void =>
      logger.error('onEvent failed', {
        type: event.type,
        server: event.server,
        error: thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown),
      })
    try {
      // Not awaited: a lease may be held here, which the hook itself may want.
      Promise.resolve(onEvent({ ...event, at: clock() })).catch(failed)
    } catch (thrown) {
      failed(thrown)
    }
  }
}

/** What an event says of the connection that it is about. */
export function connectionEvent({
  server,
  user,
  clientId,
  authorizationServer: { issuer },
}: Connection): Pick<ConnectionEvent, 'server' | 'user' | 'issuer' | 'clientId'> {
  return { server, user, issuer, clientId }
}

/** Tells of a client that was registered, or given up; of a marker, or of what is remembered of a configured client, there is nothing to tell. */
export function emitRegistration(
  { emit }: { readonly emit: Emit },
  type: RegistrationEvent['type'],
  { status, server, issuer, clientId }: Registration,
): void {
  if (status === 'registered' && clientId !== undefined) emit({ type, server, issuer, clientId })
}
