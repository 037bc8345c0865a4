import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** For how long one counts, in milliseconds. */
const WINDOW = 10 * 60_000

/** What a client is registered for, one at a time. */
type Place = Pick<Registration, 'server' | 'issuer' | 'redirectUri'>

/**
 * Notes that a registered client is of no use: its issuer refused it (`invalid_client`), and no other had replaced it;
 * or the answer to its registration cannot be used.
 */
export function noteUnusable({ unusableClients, clock }: OAuthContext, place: Place): void {
  const key = keyOf(place)
  unusableClients.set(key, [...recent(unusableClients.get(key), clock()), clock()])
}

/** Notes that an issuer took one. */
export function noteAccepted({ unusableClients }: OAuthContext, place: Place): void {
  unusableClients.delete(keyOf(place))
}

/**
 * A client that is of no use is registered again once (SPEC 44): where its successor is of none either, a third
 * would not be, and each may be left behind at the issuer.
 *
 * @throws McpDcrError `client_invalid` for ten minutes after that
 */
export function assertMayRegister({ unusableClients, clock }: OAuthContext, place: Place): void {
  const { server, issuer } = place
  if (recent(unusableClients.get(keyOf(place)), clock()).length < 2) return
  throw new McpDcrError(
    'client_invalid',
    `${quoteUntrusted(issuer)} registers clients that cannot be used: one, and the one that took its place. It refuses them, or its answers lack what they need.`,
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
