import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Server } from '../model.js'
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
const OF_ORIGIN: Limit = { anHour: 20, inAll: 1000 }
/** Of all undeclared upstreams together: their challenges choose the origin, and one domain may have any number. */
const UNDECLARED: Limit = { anHour: 100, inAll: 5000 }
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
  const now = clock()
  const own = JSON.stringify([name, issuer])
  /** The URLs of their MCP servers. */
  const held = new Map<string, string>()
  const recent = new Map<string, string>()
  for await (const { value } of records.registrations.listBare(declared ? serverPrefix(name) : undefined)) {
    const { serverUrl } = value
    // An undeclared upstream is called as its URL.
    if (serverUrl !== (declared ? url : value.server)) continue
    const other = JSON.stringify([value.server, value.issuer])
    if (other === own) return
    held.set(other, serverUrl)
    if (now - value.createdAt < HOUR) recent.set(other, serverUrl)
  }
  // Those whose registration is under way, or has failed: they have no record.
  const key = declared ? JSON.stringify([name, url]) : ''
  const begun = (newIssuers.get(key) ?? []).filter(({ at }) => now - at < HOUR)
  for (const { what, serverUrl } of begun) recent.set(what, serverUrl)
  if (recent.has(own)) return
  for (const { limit, includes, tooMany } of boundsOf(server)) {
    const countOf = (some: ReadonlyMap<string, string>): number => [...some.values()].filter(includes).length
    if (countOf(recent) >= limit.anHour) throw tooMany(`${limit.anHour}`, ' within an hour')
    if (countOf(held) >= limit.inAll) throw tooMany(`${limit.inAll}`, '')
  }
  newIssuers.set(key, [...begun, { what: own, serverUrl: url, at: now }])
}

/** A first registration that was begun. */
export interface BegunRegistration {
  /** Of whom, and at which issuer. */
  readonly what: string
  readonly serverUrl: string
  /** In epoch milliseconds. */
  readonly at: number
}

interface Bound {
  readonly limit: Limit
  /** Whether the first registrations of the MCP server at this URL count. */
  readonly includes: (serverUrl: string) => boolean
  readonly tooMany: (count: string, when: string) => McpDcrError
}

function boundsOf({ name, url, declared }: Server): Bound[] {
  const failed = (message: string, fix: string): McpDcrError =>
    new McpDcrError('registration_failed', message, { server: name, fix })
  if (declared) {
    const tooMany: Bound['tooMany'] = (count, when) =>
      failed(
        `The MCP server "${name}" has named ${count} authorization servers${when}; no client is registered at another one.`,
        'If it is meant to have so many, set oauthConfig.issuer to the one to use.',
      )
    return [{ limit: DECLARED, includes: () => true, tooMany }]
  }
  const origin = originOf(url)
  const undeclared =
    (who: string): Bound['tooMany'] =>
    (count, when) =>
      failed(
        `${who} have had ${count} clients registered${when}; no other one is.`,
        'Declare this MCP server in the servers option.',
      )
  return [
    {
      limit: OF_ORIGIN,
      includes: (other) => originOf(other) === origin,
      tooMany: undeclared(`The undeclared upstreams at ${quoteUntrusted(origin)}`),
    },
    { limit: UNDECLARED, includes: () => true, tooMany: undeclared('All undeclared upstreams together') },
  ]
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url
}
