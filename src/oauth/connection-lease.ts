import type { OAuthContext } from './context.js'

/**
 * Runs work that changes one connection, or what its tokens are at their issuer; see {@link Leases.withLease}. The
 * work may make four requests, one after the other.
 *
 * @param key that of the connection
 */
export function withConnectionLease<T>(
  { leases, timeout }: OAuthContext,
  key: string,
  work: () => Promise<T>,
  outcome?: string,
): Promise<T> {
  return leases.withLease(`refresh ${key}`, 4 * timeout + 5_000, work, outcome)
}
