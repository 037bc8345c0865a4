import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Registration, Server } from '../model.js'
import { serverPrefix } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** How many first registrations there may be. */
interface Limit {
  readonly anHour: number
  /** Beside those that are held. */
  readonly inAll: number
}

/** Of a declared MCP server, each at another issuer. */
const DECLARED: Limit = { anHour: 5, inAll: 100 }
/** Of the undeclared upstreams of one origin together: what each is called is its own to say. */
const UNDECLARED: Limit = { anHour: 20, inAll: 1000 }
/** Milliseconds. */
const HOUR = 60 * 60_000

/**
 * An MCP server chooses its issuer, and may name another one with each answer: whoever visits would have the gateway
 * register clients, and keep them, without end. One that is configured is the operator's choice.
 *
 * @throws McpDcrError `registration_failed` where it has named too many
 */
export async function assertNotTooMany(context: OAuthContext, server: Server, issuer: string): Promise<void> {
  if (server.oauth.issuer !== undefined) return
  const { records, newIssuers, clock } = context
  const { declared, name, url } = server
  const limit = declared ? DECLARED : UNDECLARED
  const isOwn = ({ serverUrl }: Pick<Registration, 'serverUrl'>): boolean =>
    declared ? serverUrl === url : originOf(serverUrl) === originOf(url)
  const now = clock()
  const own = JSON.stringify([name, issuer])
  const held = new Set<string>()
  const recent = new Set<string>()
  for await (const { value } of records.registrations.listBare(declared ? serverPrefix(name) : undefined)) {
    if (!isOwn(value)) continue
    const other = JSON.stringify([value.server, value.issuer])
    if (other === own) return
    held.add(other)
    if (now - value.createdAt < HOUR) recent.add(other)
  }
  // Those whose registration is under way, or has failed: they have no record.
  const key = declared ? JSON.stringify([name, url]) : originOf(url)
  const begun = (newIssuers.get(key) ?? []).filter(({ at }) => now - at < HOUR)
  for (const it of begun) recent.add(it.what)
  if (recent.has(own)) return
  if (recent.size >= limit.anHour) throw tooMany(server, limit.anHour, ' within an hour')
  if (held.size >= limit.inAll) throw tooMany(server, limit.inAll)
  newIssuers.set(key, [...begun, { what: own, at: now }])
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url
}

function tooMany({ name, url, declared }: Server, count: number, when = ''): McpDcrError {
  const message = declared
    ? `The MCP server "${name}" has named ${count} authorization servers${when}; no client is registered at another one.`
    : `The undeclared upstreams at ${quoteUntrusted(originOf(url))} have had ${count} clients registered${when}; no other one is.`
  const fix = declared
    ? 'If it is meant to have so many, set oauthConfig.issuer to the one to use.'
    : 'Declare the MCP servers of this host in the servers option.'
  return new McpDcrError('registration_failed', message, { server: name, fix })
}
