import type { Registration } from '../model.js'
import { serverPrefix } from '../store/records.js'
import type { OAuthContext } from './context.js'

/**
 * Runs work that changes registrations of one MCP server at one issuer; see {@link Leases.withLease}. They share
 * a lease, whatever their redirect URI: one may take the place of another. The work may make ten requests,
 * one after the other.
 */
export function withRegistrationLease<T>(
  { leases, timeout }: OAuthContext,
  { server, issuer }: Pick<Registration, 'server' | 'issuer'>,
  work: () => Promise<T>,
  outcome?: string,
): Promise<T> {
  const name = `register ${serverPrefix(server)}${encodeURIComponent(issuer)}`
  return leases.withLease(name, 10 * timeout + 5_000, work, outcome)
}
