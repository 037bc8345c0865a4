import type { MaybeOpened } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** What is held at the issuer stays there: without its secrets, it can neither be revoked nor deleted. */
export function warnOfUnopened(
  { logger }: Pick<OAuthContext, 'logger'>,
  { value: { server }, unopened }: MaybeOpened<{ readonly server: string }>,
): void {
  logger.warn('a record that does not open is deleted here, and nothing at its issuer', {
    server,
    error: unopened?.message,
  })
}
