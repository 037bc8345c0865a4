import { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { within } from '../within.js'
import { isBearerToken } from './bearer-token.js'

/**
 * The token that the registration endpoint wants (RFC 7591 §3), where one is configured.
 *
 * @param timeout how long a function may take, in milliseconds
 * @throws McpDcrError `registration_failed`
 */
export async function resolveInitialAccessToken(
  { name, oauth }: Server,
  timeout: number,
): Promise<string | undefined> {
  const { initialAccessToken: configured } = oauth
  if (configured === undefined) return undefined
  let token: unknown
  try {
    token =
      typeof configured === 'function'
        ? await within(timeout, configured, () => new Error(`it took longer than ${timeout} ms`))
        : configured
  } catch (cause) {
    throw new McpDcrError('registration_failed', 'The initialAccessToken function failed.', {
      cause,
      server: name,
      fix: 'Repair oauthConfig.initialAccessToken of this server; the log has what it threw.',
    })
  }
  if (isBearerToken(token)) return token
  throw new McpDcrError('registration_failed', 'The initialAccessToken is not a token that can be sent.', {
    server: name,
    fix: 'oauthConfig.initialAccessToken has to be, or return, a string of visible ASCII characters.',
  })
}
