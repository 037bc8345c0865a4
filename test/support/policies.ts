import type { ClientMetadata, Configuration, KoaContextWithOIDC } from 'oidc-provider'
import type { AuthorizationServer } from './authorization-server.js'

/** Looks at what a client asks for when it registers or changes (PUT), and may change or refuse it. */
export type Policy = (ctx: KoaContextWithOIDC, metadata: ClientMetadata) => void | Promise<void>

/**
 * For `configure`: a client needs an initial access token (RFC 7591 §3) to register, and what it asks for then
 * and later goes through the policies of that token.
 */
export function registrationPolicies(policies: Record<string, Policy>) {
  return ({ features }: Configuration): void => {
    if (features) features.registration = { enabled: true, initialAccessToken: true, policies }
  }
}

/** A token for any number of registrations under these policies. */
export function issueInitialAccessToken(
  { provider: { InitialAccessToken } }: AuthorizationServer,
  policies: string[],
): Promise<string> {
  return new InitialAccessToken({ policies }).save()
}

/** RFC 7591 §3.2.2. */
export async function refuse(description: string): Promise<never> {
  // Not at the top, where it would warn on the console: see loadOidcProvider().
  const { errors } = await import('oidc-provider')
  throw new errors.InvalidClientMetadata(description)
}
