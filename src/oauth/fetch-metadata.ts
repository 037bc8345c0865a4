import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'

/** The newest MCP protocol version this library speaks; sent during discovery (SPEC 47). */
const MCP_PROTOCOL_VERSION = '2025-11-25'

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
    response = await fetch(
      url,
      { headers: { accept: 'application/json', 'mcp-protocol-version': MCP_PROTOCOL_VERSION } },
      reach,
    )
  } catch (error) {
    if (error instanceof McpDcrError && NEXT_URL_MAY_WORK.has(error.code))
      return { found: false, failure: error }
    throw error
  }
  if (response.status !== 200) {
    const failure = new McpDcrError(
      'discovery_failed',
      `${url.href} answered with status ${response.status}.`,
    )
    return { found: false, failure }
  }
  return parse(url, await response.text())
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
    const failure = new McpDcrError('metadata_invalid', `${url.href} did not answer with a JSON object.`)
    return { found: false, failure }
  }
  return { found: true, document: document as Record<string, unknown> }
}

/** The strings of a JSON array; undefined for anything that is not an array. */
export function stringList(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string' && item !== '') : undefined
}

/** A required string member, or `metadata_invalid`. */
export function requiredString(
  document: Readonly<Record<string, unknown>>,
  member: string,
  url: string,
): string {
  const value = document[member]
  if (typeof value === 'string' && value !== '') return value
  throw new McpDcrError(
    'metadata_invalid',
    `The metadata at ${url} has no ${member}` +
      (value === undefined ? '.' : `: it is ${quoteUntrusted(typeof value)}.`),
  )
}
