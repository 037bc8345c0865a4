import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** The registrations that an issuer has left unanswered, one after the other. */
export interface Unanswered {
  readonly count: number
  /** Before that, in epoch milliseconds, no other one is tried. */
  readonly until: number
}

type Place = Pick<Registration, 'server' | 'issuer' | 'redirectUri'>

/** The pause after the second one, in milliseconds: the first may be repeated at once, each further one doubles it. */
const FIRST_PAUSE = 1000
const LONGEST_PAUSE = 10 * 60_000

/** Notes that a registration was not answered: it may have left a client there. */
export function noteUnanswered({ unanswered, clock }: OAuthContext, place: Place): void {
  const count = (unanswered.get(keyOf(place))?.count ?? 0) + 1
  const pause = count < 2 ? 0 : Math.min(FIRST_PAUSE * 2 ** (count - 2), LONGEST_PAUSE)
  unanswered.set(keyOf(place), { count, until: clock() + pause })
}

/** Notes that one was. */
export function noteAnswered({ unanswered }: OAuthContext, place: Place): void {
  unanswered.delete(keyOf(place))
}

/**
 * Whoever visits the gateway causes a registration: at an issuer that does not answer, which may register all the
 * same, they would make clients without end.
 *
 * @throws McpDcrError `registration_failed` until the next one may be tried
 */
export function assertNotPaused({ unanswered, clock }: OAuthContext, place: Place): void {
  const { count, until } = unanswered.get(keyOf(place)) ?? { count: 0, until: 0 }
  const seconds = Math.ceil((until - clock()) / 1000)
  if (seconds <= 0) return
  throw new McpDcrError(
    'registration_failed',
    `${quoteUntrusted(place.issuer)} has left ${count} registrations unanswered; the next one is tried in ${seconds} seconds.`,
    { server: place.server, fix: `Try again in ${seconds} seconds.` },
  )
}

function keyOf({ server, issuer, redirectUri }: Place): string {
  return registrationKey(server, issuer, redirectUri)
}
