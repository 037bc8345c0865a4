import { McpDcrError } from '../errors.js'
import { shown } from '../security/endpoint-url.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'

/** Sent during discovery (SPEC 47). Not the newest: a server may refuse a version that it does not know. */
const MCP_PROTOCOL_VERSION = '2025-11-25'

/** How metadata is asked for. */
export const METADATA_REQUEST: RequestInit = {
  headers: { accept: 'application/json', 'mcp-protocol-version': MCP_PROTOCOL_VERSION },
}

/** A metadata document, or why there is none at this URL. */
export type MetadataAnswer =
  | { readonly found: true; readonly document: Readonly<Record<string, unknown>> }
  | { readonly found: false; readonly failure: McpDcrError }

/**
 * Fetches one metadata document. What means "not here, try the next URL" is returned; what would only
 * repeat itself at the next URL (a timeout, a refused address, an unreachable host) is thrown.
 */
export async function fetchMetadata(url: URL, fetch: GuardedFetch, reach: Reach): Promise<MetadataAnswer> {
  let response: Response
  try {
    response = await fetch(url, METADATA_REQUEST, reach)
  } catch (error) {
    if (error instanceof McpDcrError && NEXT_URL_MAY_WORK.has(error.code))
      return { found: false, failure: error }
    throw error
  }
  if (response.status !== 200) return { found: false, failure: notHere(url, response.status) }
  return parse(url, await response.text())
}

/** A server that is down or busy has not said that there is no metadata. */
export function isDownOrBusy(status: number): boolean {
  return status >= 500 || status === 429
}

function notHere(url: URL, status: number): McpDcrError {
  const message = `${shown(url)} answered with status ${status}.`
  return isDownOrBusy(status)
    ? new McpDcrError('request_failed', message, { fix: 'Try again in a moment.' })
    : new McpDcrError('discovery_failed', message, { fix: 'Check the url of this server.' })
}

const NEXT_URL_MAY_WORK = new Set(['redirect_refused', 'response_too_large'])

function parse(url: URL, text: string): MetadataAnswer {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    document = undefined
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    const failure = new McpDcrError('metadata_invalid', `${shown(url)} did not answer with a JSON object.`, {
      fix: UNUSABLE,
    })
    return { found: false, failure }
  }
  return { found: true, document: document as Record<string, unknown> }
}

const UNUSABLE =
  'Open the URL that the message names. If it shows a web page, correct the url of this server or its ' +
  'oauthConfig.issuer; otherwise set oauthConfig.authorizationUrl and oauthConfig.tokenUrl.'

/** Of one string, and of all in a list together, in characters: what is discovered is kept. */
const MAX_TEXT = 8192
/** Of a list. */
const MAX_ITEMS = 256

/**
 * The strings of a JSON array, as many as are kept: 256 of 8,192 characters together, and those beyond are left out;
 * undefined for anything that is not an array.
 */
export function stringList(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined
  const kept: string[] = []
  let room = MAX_TEXT
  for (const item of value as unknown[]) {
    if (typeof item !== 'string' || item === '' || item.length > room) continue
    kept.push(item)
    room -= item.length
    if (kept.length === MAX_ITEMS) break
  }
  return kept
}

/** A required string member of 8,192 characters at the most, or `metadata_invalid`. */
export function requiredString(
  document: Readonly<Record<string, unknown>>,
  member: string,
  url: URL,
): string {
  const value = document[member]
  // Control characters have no place in any of them, and end up in messages and logs.
  if (typeof value === 'string' && value !== '' && value.length <= MAX_TEXT && !/\p{C}/u.test(value))
    return value
  throw new McpDcrError(
    'metadata_invalid',
    `The metadata at ${shown(url)} has no ${member}` +
      (value === undefined || value === ''
        ? '.'
        : typeof value === 'string'
          ? ` that can be used: it ${value.length > MAX_TEXT ? `is longer than ${MAX_TEXT} characters` : 'has control characters'}.`
          : `: it is of type ${typeof value}.`),
    { fix: UNUSABLE },
  )
}
