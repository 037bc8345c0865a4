import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'
import { failureOf } from './register.js'
import { readRetryAfter } from './retry-after.js'

/** The registrations of one kind, one after the other. */
export interface RegistrationPause {
  readonly count: number
  /** Before that, in epoch milliseconds, no other one is tried. */
  readonly until: number
  /** Why: what the last one failed with; undefined where it was not answered. */
  readonly refusal: Pick<McpDcrError, 'code' | 'message' | 'fix'> | undefined
}

/** A registration that is tried. */
export interface RegistrationAttempt extends Pick<Registration, 'server' | 'issuer' | 'redirectUri'> {
  /** A digest of what is sent: a refusal holds up no other configuration. */
  readonly sent: string
}

const FIRST_PAUSE = 1000
const LONGEST_PAUSE = 10 * 60_000
/** How many attempts are made without a pause: the first may be repeated at once, each one after the second doubles it. */
const UNHINDERED = 2
/** How many different ones of one place: the scopes that an MCP server asks for are its own to vary. */
const UNHINDERED_VARIANTS = 8
/** How many that work: an MCP server that asks for other scopes each time has a client registered each time. */
const UNHINDERED_CLIENTS = 20
/** After so long without another one, in milliseconds, it is as if there had been none. */
const FORGOTTEN_AFTER = 60 * 60_000

/**
 * Notes that a registration has failed. Whoever visits the gateway causes one: they would have it ask an issuer that
 * refuses without end, and make clients at one that does not answer and may register all the same.
 *
 * @param error where it is not that of a request, as a failing store's is, nothing is noted
 */
export function noteFailed(context: OAuthContext, attempt: RegistrationAttempt, error: unknown): void {
  const failure = failureOf(error)
  if (failure === undefined) return
  const { unanswered, busy: isBusy } = failure
  const { place, variant, variants } = keysOf(attempt)
  const { code, message, fix } = error as McpDcrError
  const last: LastFailure = {
    refusal: unanswered ? undefined : { code, message, fix: isBusy ? undefined : fix },
    atLeast: readRetryAfter(failure.retryAfter, context.clock()),
  }
  if (unanswered || isBusy) {
    lengthen(context, place, UNHINDERED, last)
  } else {
    if (!context.registrationPauses.has(variant)) lengthen(context, variants, UNHINDERED_VARIANTS, last)
    lengthen(context, variant, UNHINDERED, last)
  }
}

/** Notes that one has worked: those that have failed are forgotten. */
export function noteWorked(context: OAuthContext, attempt: RegistrationAttempt): void {
  const { clients, ...failed } = keysOf(attempt)
  for (const key of Object.values(failed)) context.registrationPauses.delete(key)
  lengthen(context, clients, UNHINDERED_CLIENTS, { refusal: tooManyClients(attempt), atLeast: 0 })
}

function tooManyClients({ issuer }: RegistrationAttempt): RegistrationPause['refusal'] {
  return {
    code: 'registration_failed',
    message: `One client after the other was registered at ${quoteUntrusted(issuer)}.`,
    fix: 'The MCP server asks for other scopes each time, or its clients do not last. Register a client by hand and set oauthConfig.clientId.',
  }
}

/** Why no registration may be tried for now: what the last one failed with, say. */
export function pauseOf(
  { registrationPauses, clock }: OAuthContext,
  attempt: RegistrationAttempt,
): McpDcrError | undefined {
  for (const key of Object.values(keysOf(attempt))) {
    const pause = registrationPauses.get(key)
    const seconds = Math.ceil(((pause?.until ?? 0) - clock()) / 1000)
    if (pause !== undefined && seconds > 0) return paused(attempt, pause, seconds)
  }
  return undefined
}

/** @throws McpDcrError what {@link pauseOf} returns */
export function assertNotPaused(context: OAuthContext, attempt: RegistrationAttempt): void {
  const pause = pauseOf(context, attempt)
  if (pause !== undefined) throw pause
}

interface LastFailure {
  readonly refusal: RegistrationPause['refusal']
  /** What its `Retry-After` asks for, in milliseconds. */
  readonly atLeast: number
}

/** @param unhindered how many attempts are made before the first pause */
function lengthen(
  { registrationPauses, clock }: OAuthContext,
  key: string,
  unhindered: number,
  { refusal, atLeast }: LastFailure,
): void {
  const before = registrationPauses.get(key)
  const isRecent = before !== undefined && clock() - before.until < FORGOTTEN_AFTER
  const count = isRecent ? before.count + 1 : 1
  const pause = count < unhindered ? 0 : FIRST_PAUSE * 2 ** (count - unhindered)
  registrationPauses.set(key, {
    count,
    until: clock() + Math.min(Math.max(pause, atLeast), LONGEST_PAUSE),
    refusal,
  })
}

function paused(
  { server, issuer }: RegistrationAttempt,
  { count, refusal }: RegistrationPause,
  seconds: number,
): McpDcrError {
  const message =
    refusal === undefined
      ? `${quoteUntrusted(issuer)} has left ${count === 1 ? 'a registration' : `${count} registrations`} unanswered; the next one is tried in ${seconds} seconds.`
      : `${refusal.message} It is tried again in ${seconds} seconds.`
  const fix = refusal?.fix ?? `Try again in ${seconds} seconds.`
  return new McpDcrError(refusal?.code ?? 'registration_failed', message, { server, fix })
}

/** By what a pause is kept: for the place as a whole, for what is sent, for all the different things that were sent, for clients. */
function keysOf({
  server,
  issuer,
  redirectUri,
  sent,
}: RegistrationAttempt): Record<'place' | 'variant' | 'variants' | 'clients', string> {
  const place = registrationKey(server, issuer, redirectUri)
  return { place, variant: `${place} ${sent}`, variants: `${place} refused`, clients: `${place} registered` }
}
