import { McpDcrError, quoteUntrusted } from '../errors.js'
import { matchesIssuer } from '../providers/match-issuer.js'

/** Whether an issuer may sign people in. */
export type IsTrusted = (issuer: string) => boolean

/** @param trust the option of that name; undefined: every issuer is trusted */
export function createTrust(trust: readonly string[] | undefined): IsTrusted {
  return (issuer) => trust === undefined || matchesIssuer(trust, issuer)
}

/** @throws McpDcrError `issuer_not_trusted` */
export function assertTrusted(isTrusted: IsTrusted, issuer: string, server?: string): void {
  if (isTrusted(issuer)) return
  throw new McpDcrError(
    'issuer_not_trusted',
    `The trust option does not list the issuer ${quoteUntrusted(issuer)}.`,
    {
      ...(server !== undefined && { server }),
      fix: 'If this authorization server may sign people in, add its issuer to the trust option.',
    },
  )
}
