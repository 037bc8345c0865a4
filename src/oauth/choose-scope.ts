import type { Challenge, Discovered, Server } from '../model.js'

/**
 * The scope to ask for (SPEC 25), computed once and used in registration and authorization alike: the
 * challenge's, else all that the resource supports, else the configured one, else none. At a step-up what was
 * asked for before stays in (SPEC 39), and `offline_access` is added where the authorization server lists it and the
 * configuration does not leave it out.
 */
export function chooseScope(
  server: Server,
  discovered: Discovered,
  challenge: Challenge | undefined,
  requestedBefore?: string,
): string | undefined {
  const base = challenge?.scope || discovered.scopesSupported?.join(' ') || server.oauth.scopes
  const scopes = new Set([...scopeList(requestedBefore), ...scopeList(base)])
  // Without any scope the authorization server's own default applies (RFC 6749 §3.3): `offline_access` alone would narrow it.
  if (scopes.size === 0) return undefined
  const isOffered = discovered.authorizationServer.scopes_supported?.includes('offline_access') === true
  if (isOffered && server.oauth.offlineAccess !== false) scopes.add('offline_access')
  return [...scopes].join(' ')
}

/**
 * The part of a scope that a client was registered for (SPEC 18): a strict server refuses the rest. Where that
 * is nothing, what the server said of its registration cannot be meant so, and all is asked for.
 */
export function withinRegistered(
  scope: string | undefined,
  registered: string | undefined,
): string | undefined {
  if (registered === undefined) return scope
  const allowed = new Set(scopeList(registered))
  return (
    scopeList(scope)
      .filter((token) => allowed.has(token))
      .join(' ') || scope
  )
}

/** The scope tokens of a space-separated string (RFC 6749 §3.3). */
export function scopeList(scope: string | undefined): readonly string[] {
  return scope?.split(/\s+/).filter((token) => token !== '') ?? []
}
