import type { BoundedMap } from '../bounded-map.js'
import type { AuthorizationRequiredError } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import type { OAuthContext } from '../oauth/context.js'
import type { Config } from '../options.js'
import type { Registrations } from '../registrations.js'
import { connectionKey, type ResealReport } from '../store/records.js'
import type { FlowCookies } from './flow-cookie.js'
import type { Answer } from './intercept.js'
import type { McpSessions } from './mcp-client.js'
import type { PendingElicitation } from './pending-elicitations.js'
import type { RequestStates } from './request-state.js'
import type { ServerChallenges } from './server-challenges.js'
import type { SignInWaits } from './sign-in-waits.js'
import type { StepUps } from './step-up.js'

/** What a sign-in is wanted for. */
export interface PendingRequirement {
  readonly server: Server
  readonly user: string
  readonly challenge: Challenge | undefined
}

/** What the gateway's steps and routes share; one per `mcpDcr()`. */
export interface GatewayContext {
  readonly config: Config
  readonly oauth: OAuthContext
  readonly registrations: Registrations
  readonly reseal: () => Promise<ResealReport>
  readonly cookies: FlowCookies
  /** The newest challenge by user and server, for the sign-in that it leads to. */
  readonly challenges: BoundedMap<string, Challenge>
  readonly mcpSessions: McpSessions
  readonly requestStates: RequestStates
  readonly signInWaits: SignInWaits
  /** What those errors of ours want that say that somebody has to sign in. */
  readonly requirements: WeakMap<AuthorizationRequiredError, PendingRequirement>
  /** MCP clients that were asked to open a URL, by user and server, until somebody has signed in there. */
  readonly elicitations: BoundedMap<string, readonly PendingElicitation[]>
  /** For a sign-in whose user has met no challenge here. */
  readonly serverChallenges: ServerChallenges
  readonly stepUps: StepUps
  /** Undeclared servers that a user has met through their challenge, by user and name. */
  readonly undeclared: BoundedMap<string, BoundedMap<string, Server>>
  /** Connections whose token their upstream has accepted. */
  readonly accepted: WeakSet<Connection>
  /** The last sign-in that ended here, by the time of it; by connection key. */
  readonly signIns: BoundedMap<string, number>
  /** The sign-in, by the time of it, of which a token was accepted last; by connection key. */
  readonly acceptedSignIns: BoundedMap<string, number>
  /** Callbacks under way, by their query. */
  readonly callbacks: Map<string, Promise<Answer>>
  /** States that a callback has used up. */
  readonly usedStates: BoundedMap<string, true>
  /** Until when, in epoch milliseconds, a connection is not refreshed after a failure, by connection key. */
  readonly refreshPauses: BoundedMap<string, number>
}

export function challengeKey(user: string, server: Pick<Server, 'name'>): string {
  return JSON.stringify([user, server.name])
}

/** Notes that an upstream took the token of this connection. An error of its own (5xx), or a proxy's, says nothing of it. */
export function noteAnswer(
  { accepted, acceptedSignIns, oauth }: GatewayContext,
  connection: Connection,
  status: number,
): void {
  if (status === 401 || status >= 500 || accepted.has(connection)) return
  accepted.add(connection)
  const key = connectionKey(connection.user, connection.server)
  acceptedSignIns.set(key, connection.connectedAt)
  oauth.failures.clear(key)
}
