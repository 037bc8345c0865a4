import { BoundedMap } from '../bounded-map.js'
import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Challenge, Connection, Server } from '../model.js'
import { scopeList } from '../oauth/choose-scope.js'
import { isRefused } from '../oauth/refused-scope.js'
import type { CredentialStore, RecordData } from '../store/contract.js'
import { connectionKey } from '../store/records.js'
import { noteAnswer, type GatewayContext } from './context.js'
import { isOneOperation } from './operation.js'

/** Authorizations that one operation may lead a user into (SPEC 40). */
const MAX_TRIES = 3
/** How long after the last of them they are forgotten, in milliseconds. */
const REMEMBERED_FOR = 60 * 60_000
/** Of how many users and servers this instance knows at once what is noted. */
const REMEMBERED = 10_000
/** Of how many operations of one user at one server. */
const MAX_OPERATIONS = 50

/** The collection of what is noted; it holds no secret. */
const COLLECTION = 'step_ups'

/** A 403 that asks for more scope, until somebody has signed in for it. */
interface StepUp {
  readonly challenge: Challenge
  /** What was refused: see `operationOf`. */
  readonly operation: string
  /** What the challenge asks for beyond what the token has, space-separated. */
  readonly demandedScope: string
}

/** What is noted of one user at one server. */
interface Notes {
  /** The newest step-up: the connect URL leads into it. */
  readonly pending?: StepUp
  /** The authorizations that were begun for each operation, and when the last one was. */
  readonly tries: readonly { readonly operation: string; readonly count: number; readonly last: number }[]
}

const NONE: Notes = { tries: [] }

/** What is remembered of step-ups, by connection key; in the store, since the browser may come to another instance. */
export interface StepUps {
  /** What this instance has read last. */
  known(key: string): Notes
  read(key: string): Promise<Notes>
  change(key: string, make: (notes: Notes) => Notes): Promise<void>
}

export function createStepUps(store: CredentialStore, clock: () => number): StepUps {
  const known = new BoundedMap<string, Notes>(REMEMBERED)
  /** The last change that is under way, by key. */
  const underWay = new Map<string, Promise<void>>()

  async function load(key: string): Promise<{ notes: Notes; version: string | undefined }> {
    const record = await store.get(COLLECTION, key)
    return { notes: (record?.data ?? NONE) as unknown as Notes, version: record?.version }
  }

  function note(key: string, notes: Notes): void {
    if (notes.pending === undefined && notes.tries.length === 0) known.delete(key)
    else known.set(key, notes)
  }

  return {
    known: (key) => known.get(key) ?? NONE,
    async read(key) {
      await underWay.get(key)?.catch(() => undefined)
      const { notes } = await load(key)
      if (!underWay.has(key)) note(key, notes)
      return notes
    },

    change(key, make) {
      note(key, make(known.get(key) ?? NONE))
      const before = underWay.get(key) ?? Promise.resolve()
      const change = before.catch(() => undefined).then(() => applyTo(key, make))
      underWay.set(key, change)
      const forget = (): void => {
        if (underWay.get(key) === change) underWay.delete(key)
      }
      change.then(forget, forget)
      return change
    },
  }

  async function applyTo(key: string, make: (notes: Notes) => Notes): Promise<void> {
    for (;;) {
      const { notes, version } = await load(key)
      const changed = make(notes)
      if (changed === notes) return note(key, notes)
      const options = { expiresAt: clock() + REMEMBERED_FOR }
      const data = changed as unknown as RecordData
      if (!(await store.compareAndSet(COLLECTION, key, version, data, options))) continue
      note(key, changed)
      return
    }
  }
}

/** Whether an upstream's 403 says that the token has too little scope (RFC 6750 §3.1). */
export function asksForScope(challenge: Challenge | undefined): challenge is Challenge {
  return challenge?.error === 'insufficient_scope'
}

/**
 * Whether a 403 on a token leads to another authorization (SPEC 3, 39, 40), as far as this instance knows. Otherwise
 * it is the caller's to see:
 *
 * - one that does not say `insufficient_scope`, or names no scope that is new: the token has it, or it was asked for. What was asked for
 *   and not granted is not asked for again: the person, or their administrator, has said no
 * - one that asks for what they refused when they were asked for it, until they sign in of their own accord
 * - one of an operation for which they were sent away three times
 */
export function mayStepUp(
  { stepUps, oauth }: GatewayContext,
  sent: Connection,
  challenge: Challenge,
  operation: string,
): boolean {
  const notes = stepUps.known(connectionKey(sent.user, sent.server))
  return (
    demandOf(sent, challenge) !== undefined && triesOf(notes, operation, oauth.clock())?.count !== MAX_TRIES
  )
}

/**
 * Notes the step-up that a 403 leads to; it is then what this user's next authorization at this server is for. The
 * connection stays as it is, so that all else works meanwhile.
 *
 * @returns whether it leads to one: see {@link mayStepUp}
 */
export async function beginStepUp(
  context: GatewayContext,
  sent: Connection,
  challenge: Challenge | undefined,
  operation: string,
): Promise<boolean> {
  if (!asksForScope(challenge)) return false
  // It is the token's scope that will not do: the token itself was taken.
  noteAnswer(context, sent, 403)
  const demandedScope = demandOf(sent, challenge)
  if (demandedScope === undefined) return false
  const { clock } = context.oauth
  let isAllowed = false
  await context.stepUps.change(connectionKey(sent.user, sent.server), (notes) => {
    isAllowed = triesOf(notes, operation, clock())?.count !== MAX_TRIES
    if (isAllowed) return { ...notes, pending: { challenge, operation, demandedScope } }
    return notes.pending?.operation === operation ? { tries: notes.tries } : notes
  })
  return isAllowed
}

/** What a challenge asks for beyond what the token has, where that may be asked for; undefined where nothing is. */
function demandOf(sent: Connection, { scope }: Challenge): string | undefined {
  const wanted = scopeList(scope)
  const asked = new Set(scopeList(sent.requestedScope))
  if (wanted.every((it) => asked.has(it)) || isRefused(sent, wanted)) return undefined
  const granted = new Set(scopeList(sent.scope))
  const demanded = wanted.filter((it) => !granted.has(it))
  return demanded.length === 0 ? undefined : demanded.join(' ')
}

/** The error for a 403 that leads to no other authorization. */
export function insufficientScope({ name }: Server, { scope }: Challenge, connectUrl: string): McpDcrError {
  const wanted = scope === undefined ? 'more scope' : `the scope ${quoteUntrusted(scope)}`
  return new McpDcrError(
    'insufficient_scope',
    `The MCP server "${name}" wants ${wanted}, which this connection does not have and was not given when it was asked for.`,
    { server: name, fix: `To allow it after all, open ${connectUrl} in a browser.` },
  )
}

/** The step-up that a user's next authorization at a server is for. */
export async function pendingStepUp(
  { stepUps, oauth }: GatewayContext,
  user: string,
  { name }: Server,
): Promise<StepUp | undefined> {
  const notes = await stepUps.read(connectionKey(user, name))
  const { pending } = notes
  // After that, whoever connects does so of their own accord.
  const isExhausted =
    pending !== undefined && triesOf(notes, pending.operation, oauth.clock())?.count === MAX_TRIES
  return isExhausted ? undefined : pending
}

/** Counts an authorization that is begun, where a step-up is what it is for. */
export async function countTry(
  { stepUps, oauth }: GatewayContext,
  user: string,
  { name }: Server,
): Promise<void> {
  const last = oauth.clock()
  await stepUps.change(connectionKey(user, name), (notes) => {
    const operation = notes.pending?.operation
    if (operation === undefined) return notes
    const count = (triesOf(notes, operation, last)?.count ?? 0) + 1
    const tries = [...without(notes, operation), { operation, count, last }].slice(-MAX_OPERATIONS)
    return { ...notes, tries }
  })
}

/** A sign-in is done: what it has asked for is pending no longer. */
export async function settleStepUp({ stepUps }: GatewayContext, connection: Connection): Promise<void> {
  const asked = new Set(scopeList(connection.requestedScope))
  await stepUps.change(connectionKey(connection.user, connection.server), (notes) => {
    const { pending, tries } = notes
    const isDone = scopeList(pending?.demandedScope).every((scope) => asked.has(scope))
    return pending !== undefined && isDone ? { tries } : notes
  })
}

/**
 * Notes how an operation ended: one that succeeds may ask for more anew, should it ever have to.
 *
 * @param operationOf asked only where there is anything to clear
 */
export function noteOutcome(
  { stepUps, oauth }: GatewayContext,
  { user, server }: Connection,
  status: number,
  operationOf: () => string,
): void {
  if (status >= 400) return
  const key = connectionKey(user, server)
  const { tries } = stepUps.known(key)
  if (tries.length === 0) return
  const operation = operationOf()
  if (!isOneOperation(operation) || !tries.some((it) => it.operation === operation)) return
  stepUps
    .change(key, (notes) => ({ ...notes, tries: without(notes, operation) }))
    .catch((error: unknown) =>
      oauth.logger.warn('the tries of an operation could not be cleared', { server, error }),
    )
}

function triesOf({ tries }: Notes, operation: string, now: number): Notes['tries'][number] | undefined {
  return tries.find((it) => it.operation === operation && now - it.last < REMEMBERED_FOR)
}

function without({ tries }: Notes, operation: string): Notes['tries'] {
  return tries.filter((it) => it.operation !== operation)
}
