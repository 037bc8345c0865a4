import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** What a client is registered for, one at a time. */
type Place = Pick<Registration, 'server' | 'issuer' | 'redirectUri'>

/**
 * Notes that a registered client is of no use: its issuer refused it (`invalid_client`), and no other had replaced it;
 * or the answer to its registration cannot be used.
 */
export async function noteUnusable({ notes }: OAuthContext, place: Place): Promise<void> {
  await notes.add('unusable', keyOf(place))
}

/** Notes that an issuer took one. Not waited for: the tokens that it gave are to be kept first. */
export function noteAccepted({ notes, logger }: OAuthContext, place: Place): void {
  notes
    .clear('unusable', keyOf(place))
    .catch((error: unknown) =>
      logger.warn('that a client works could not be noted', { server: place.server, error }),
    )
}

/**
 * A client that is of no use is registered again once (SPEC 44): where its successor is of none either, a third
 * would not be, and each may be left behind at the issuer.
 *
 * @throws McpDcrError `client_invalid` for ten minutes after that
 */
export async function assertMayRegister({ notes }: OAuthContext, place: Place): Promise<void> {
  const { server, issuer } = place
  if ((await notes.recent('unusable', keyOf(place))).length < 2) return
  throw new McpDcrError(
    'client_invalid',
    `${quoteUntrusted(issuer)} registers clients that cannot be used: one, and the one that took its place. It refuses them, or its answers lack what they need.`,
    {
      server,
      fix: 'Try again in ten minutes. If it stays, set oauthConfig.tokenEndpointAuthMethod, or register a client by hand and set oauthConfig.clientId.',
    },
  )
}

function keyOf({ server, issuer, redirectUri }: Place): string {
  return registrationKey(server, issuer, redirectUri)
}
