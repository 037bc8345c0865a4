import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** For how long refusals count, in milliseconds. */
const WINDOW = 10 * 60_000

/** What a client is registered for, one at a time. */
type Place = Pick<Registration, 'server' | 'issuer' | 'redirectUri'>

/** Notes that an issuer refused a registered client (`invalid_client`), which no other had replaced. */
export function noteRefusal({ refusals, clock }: OAuthContext, place: Place): void {
  const key = keyOf(place)
  refusals.set(key, [...recent(refusals.get(key), clock()), clock()])
}

/** Notes that an issuer took one. */
export function noteAccepted({ refusals }: OAuthContext, place: Place): void {
  refusals.delete(keyOf(place))
}

/**
 * A client that is refused is registered again once (SPEC 44): where its successor is refused as well, a third
 * would be, too, and each is left behind at the issuer.
 *
 * @throws McpDcrError `client_invalid` for ten minutes after that
 */
export function assertNotRefusedAgain({ refusals, clock }: OAuthContext, place: Place): void {
  const { server, issuer } = place
  if (recent(refusals.get(keyOf(place)), clock()).length < 2) return
  throw new McpDcrError(
    'client_invalid',
    `${quoteUntrusted(issuer)} refuses the clients that it registers: one, and the one that took its place.`,
    {
      server,
      fix: 'Try again in ten minutes. If it stays, set oauthConfig.tokenEndpointAuthMethod, or register a client by hand and set oauthConfig.clientId.',
    },
  )
}

function recent(times: readonly number[] = [], now: number): readonly number[] {
  return times.filter((time) => now - time < WINDOW)
}

function keyOf({ server, issuer, redirectUri }: Place): string {
  return registrationKey(server, issuer, redirectUri)
}
