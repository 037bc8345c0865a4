const PATH = '/api/oauth/callback'

/**
 * The redirect URI (RFC 6749 §3.1.2) of a gateway.
 *
 * @param baseUrl its public URL
 */
export function redirectUriOf(baseUrl: string): string {
  return baseUrl + PATH
}

/** The public URL of the gateway whose redirect URI this is. */
export function baseUrlOfRedirectUri(redirectUri: string): string {
  return redirectUri.slice(0, -PATH.length)
}
