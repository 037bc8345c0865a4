import { BoundedMap } from '../bounded-map.js'
import type { Challenge, Connection, Server } from '../model.js'
import { scopeList } from '../oauth/choose-scope.js'
import { isRefused } from '../oauth/refused-scope.js'
import { challengeKey, noteAnswer, type GatewayContext } from './context.js'
import { isOneOperation } from './operation.js'

/** Authorizations that one operation may lead a user into (SPEC 40). */
const MAX_TRIES = 3
/** How long after the last of them they are forgotten, in milliseconds. */
const REMEMBERED_FOR = 60 * 60_000
/** How many of each are remembered. */
const REMEMBERED = 10_000

/** A 403 that asks for more scope, until somebody has signed in for it. */
export interface StepUp {
  readonly challenge: Challenge
  /** What was refused: see `operationOf`. */
  readonly operation: string
  /** What the challenge asks for beyond what the token has, space-separated. */
  readonly demandedScope: string
}

/** What is remembered of step-ups; one per `mcpDcr()`. */
export interface StepUps {
  /** The newest, by user and server: the connect URL leads into it. */
  readonly pending: BoundedMap<string, StepUp>
  /** The authorizations that were begun, and when the last one was, by user, server and operation. */
  readonly tries: BoundedMap<string, { readonly count: number; readonly last: number }>
}

export function createStepUps(): StepUps {
  return { pending: new BoundedMap(REMEMBERED), tries: new BoundedMap(REMEMBERED) }
}

/**
 * Whether a 403 on a token leads to another authorization (SPEC 3, 39, 40); it is then the pending step-up of this
 * user and server. Otherwise it is the caller's to see, as it is:
 *
 * - one that does not say `insufficient_scope`, or names no scope that is new: the token has it, or it was asked for. What was asked for
 *   and not granted is not asked for again: the person, or their administrator, has said no
 * - one that asks for what they refused when they were asked for it, until they sign in of their own accord
 * - one of an operation for which they were sent away three times
 *
 * The connection stays as it is, so that all else works meanwhile.
 */
export function stepsUp(
  context: GatewayContext,
  server: Server,
  sent: Connection,
  challenge: Challenge | undefined,
  operation: string,
): boolean {
  if (challenge?.error !== 'insufficient_scope') return false
  // It is the token's scope that will not do: the token itself was taken.
  noteAnswer(context, sent, 403)
  const wanted = scopeList(challenge.scope)
  const asked = new Set(scopeList(sent.requestedScope))
  if (wanted.every((scope) => asked.has(scope)) || isRefused(sent, wanted)) return false
  const granted = new Set(scopeList(sent.scope))
  const demandedScope = wanted.filter((scope) => !granted.has(scope)).join(' ')
  if (demandedScope === '') return false
  const { pending } = context.stepUps
  const key = challengeKey(sent.user, server)
  if (triesOf(context, sent.user, server, operation) >= MAX_TRIES) {
    if (pending.get(key)?.operation === operation) pending.delete(key)
    return false
  }
  pending.set(key, { challenge, operation, demandedScope })
  return true
}

/** The step-up that a user's next authorization at a server is for. */
export function pendingStepUp({ stepUps }: GatewayContext, user: string, server: Server): StepUp | undefined {
  return stepUps.pending.get(challengeKey(user, server))
}

/** Counts an authorization that is begun, where a step-up is what it is for. */
export function countTry(context: GatewayContext, user: string, server: Server): void {
  const operation = pendingStepUp(context, user, server)?.operation
  if (operation === undefined) return
  context.stepUps.tries.set(triesKey(user, server, operation), {
    count: triesOf(context, user, server, operation) + 1,
    last: context.oauth.clock(),
  })
}

/** A sign-in is done: what it has asked for is pending no longer. */
export function settleStepUp(
  context: GatewayContext,
  server: Server,
  { user, requestedScope }: Connection,
): void {
  const asked = new Set(scopeList(requestedScope))
  const demanded = scopeList(pendingStepUp(context, user, server)?.demandedScope)
  if (demanded.every((scope) => asked.has(scope))) context.stepUps.pending.delete(challengeKey(user, server))
}

/**
 * Notes how an operation ended: one that succeeds may ask for more anew, should it ever have to.
 *
 * @param operationOf asked only where there is anything to clear
 */
export function noteOutcome(
  { stepUps: { tries } }: GatewayContext,
  server: Server,
  user: string,
  status: number,
  operationOf: () => string,
): void {
  if (tries.size === 0 || status >= 400) return
  const operation = operationOf()
  if (isOneOperation(operation)) tries.delete(triesKey(user, server, operation))
}

function triesOf(
  { stepUps, oauth }: GatewayContext,
  user: string,
  server: Server,
  operation: string,
): number {
  const tried = stepUps.tries.get(triesKey(user, server, operation))
  return tried === undefined || oauth.clock() - tried.last >= REMEMBERED_FOR ? 0 : tried.count
}

function triesKey(user: string, { name }: Server, operation: string): string {
  return JSON.stringify([user, name, operation])
}
