import type { OAuthContext } from './context.js'

/**
 * When a client secret expires, in epoch seconds; 0 where it does not, or nobody knows (RFC 7591 §3.2.1). A time that
 * is past when it comes cannot be meant, a duration for example: to believe it would be to register at each sign-in.
 * Where the secret does expire, `invalid_client` tells.
 *
 * @param held what is held of it, which may be past by now
 */
export function secretExpiry(
  { clock, logger }: OAuthContext,
  server: string,
  said: number,
  held?: number,
): number {
  if (said === 0 || said === held || said * 1000 > clock()) return said
  logger.warn('a client secret came with an expiry that is past; it is taken as unknown', {
    server,
    clientSecretExpiresAt: said,
  })
  return 0
}
