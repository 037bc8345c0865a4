import { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'
import { serverPrefix } from '../store/records.js'
import type { OAuthContext } from './context.js'

/** At how many issuers a client of one MCP server may be registered within an hour. */
const MAX_ISSUERS = 5
/** Milliseconds. */
const WINDOW = 60 * 60_000

/**
 * An MCP server chooses its issuer, and may name another one with each answer: whoever visits would have the gateway
 * register clients, and keep them, without end. One that is configured is the operator's choice.
 *
 * @throws McpDcrError `registration_failed` where it has named too many of late
 */
export async function assertNotTooMany(context: OAuthContext, server: Server, issuer: string): Promise<void> {
  if (server.oauth.issuer !== undefined) return
  const { records, newIssuers, clock } = context
  const now = clock()
  const recent = new Set<string>()
  for await (const { value } of records.registrations.listBare(serverPrefix(server.name))) {
    if (value.serverUrl !== server.url) continue
    if (value.issuer === issuer) return
    if (now - value.createdAt < WINDOW) recent.add(value.issuer)
  }
  // Those whose registration is under way, or has failed: they have no record.
  const key = JSON.stringify([server.name, server.url])
  const begun = (newIssuers.get(key) ?? []).filter(({ at }) => now - at < WINDOW)
  for (const it of begun) recent.add(it.issuer)
  if (recent.has(issuer)) return
  if (recent.size >= MAX_ISSUERS) throw tooMany(server)
  newIssuers.set(key, [...begun, { issuer, at: now }])
}

function tooMany({ name }: Server): McpDcrError {
  return new McpDcrError(
    'registration_failed',
    `The MCP server "${name}" has named ${MAX_ISSUERS} authorization servers within an hour; no client is registered at another one.`,
    { server: name, fix: 'If it is meant to have so many, set oauthConfig.issuer to the one to use.' },
  )
}
