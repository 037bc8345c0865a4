import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Challenge, Server } from '../model.js'
import { assertEndpointUrl, type GuardedFetch, type Reach } from '../security/guarded-fetch.js'
import { shown } from '../security/endpoint-url.js'
import { fetchMetadata, requiredString, stringList } from './fetch-metadata.js'

/** Protected resource metadata (RFC 9728 §2), checked. */
export interface ResourceMetadata {
  /** The resource identifier, verbatim. */
  readonly resource: string
  readonly authorizationServers: readonly string[]
  readonly scopesSupported?: readonly string[]
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/**
 * Finds the metadata of an MCP server: at the URL that the challenge names, else at the well-known URLs
 * (SPEC 6). Undefined where the server has none (SPEC 47), which a server that is down has not said.
 *
 * @param server undefined for an undeclared upstream, whose metadata then says which resource it is.
 */
export async function findResourceMetadata(
  server: Server | undefined,
  challenge: Challenge | undefined,
  fetch: GuardedFetch,
  reach: Reach,
): Promise<ResourceMetadata | undefined> {
  if (challenge?.resourceMetadata !== undefined) {
    let failure: unknown
    for (const named of [challenge.resourceMetadata, ...(challenge.otherResourceMetadata ?? [])]) {
      try {
        return await readNamed(named, server, fetch, reach)
      } catch (error) {
        failure ??= error
      }
    }
    throw failure
  }
  if (server === undefined) return undefined
  let failure: McpDcrError | undefined
  for (const url of wellKnownUrls(server.url)) {
    const answer = await fetchMetadata(url, fetch, reach)
    if (answer.found) return read(answer.document, url, server)
    if (answer.failure.code === 'request_failed') failure ??= answer.failure
  }
  if (failure !== undefined) throw failure
  return undefined
}

async function readNamed(
  named: string,
  server: Server | undefined,
  fetch: GuardedFetch,
  reach: Reach,
): Promise<ResourceMetadata> {
  const url = assertEndpointUrl(named, 'resource_metadata of the challenge')
  assertSameOrigin(url, server)
  const answer = await fetchMetadata(url, fetch, reach)
  if (!answer.found) throw answer.failure
  return read(answer.document, url, server)
}

/** Where the metadata of an MCP server most likely is, whatever its challenge will name. */
export function likelyMetadataUrl({ url }: Server): URL {
  return wellKnownUrls(url)[0]
}

/** RFC 9728 §3.1: the path and query of the resource identifier come behind the well-known part. */
function wellKnownUrls(serverUrl: string): [URL, ...URL[]] {
  const { origin, pathname, search } = new URL(serverUrl)
  const path = pathname.replace(/\/$/, '') + search
  const root = new URL(origin + WELL_KNOWN)
  return path === '' ? [root] : [new URL(origin + WELL_KNOWN + path), root]
}

/** The well-known URL is built from the resource identifier (RFC 9728 §3.1), so it is always on its origin. */
function assertSameOrigin(url: URL, server: Server | undefined): void {
  if (server === undefined || url.origin === new URL(server.url).origin) return
  throw new McpDcrError(
    'resource_mismatch',
    `The MCP server names resource metadata on another origin: ${quoteUntrusted(url.origin)}.`,
    {
      server: server.name,
      fix: 'The metadata must be on the same origin as the MCP server’s url. Check that url.',
    },
  )
}

function read(
  document: Readonly<Record<string, unknown>>,
  url: URL,
  server: Server | undefined,
): ResourceMetadata {
  const resource = requiredString(document, 'resource', url)
  assertResource(resource, server?.url ?? url.origin, server?.oauth.strictResource === true, server)
  const scopesSupported = stringList(document['scopes_supported'])
  return {
    resource,
    authorizationServers: stringList(document['authorization_servers']) ?? [],
    ...(scopesSupported !== undefined && { scopesSupported }),
  }
}

/**
 * RFC 9728 §3.3 demands that `resource` is the identifier the URL was built from. Servers in the field
 * advertise their bare origin, so the same origin and a prefix of the path will do unless `strictResource`
 * is set (SPEC 7). What stays protected: a token is never asked for in the name of another origin.
 */
function assertResource(
  resource: string,
  expected: string,
  strict: boolean,
  server: Server | undefined,
): void {
  const accepted = strict
    ? resource === expected
    : server === undefined
      ? isOn(resource, expected)
      : covers(resource, expected)
  if (accepted) return
  throw new McpDcrError(
    'resource_mismatch',
    `The metadata is for the resource ${quoteUntrusted(resource)}, not for ${shown(new URL(expected))}.`,
    {
      ...(server !== undefined && { server: server.name }),
      fix: 'Check the url of this server; a token for another resource is never requested.',
    },
  )
}

function isOn(resource: string, origin: string): boolean {
  return URL.canParse(resource) && new URL(resource).origin === origin
}

function covers(resource: string, serverUrl: string): boolean {
  if (!isOn(resource, new URL(serverUrl).origin)) return false
  const prefix = new URL(resource).pathname.replace(/\/$/, '')
  const path = new URL(serverUrl).pathname
  return path === prefix || path.startsWith(`${prefix}/`)
}
