import { BoundedMap } from '../bounded-map.js'
import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, Challenge, Discovered, Server } from '../model.js'
import type { ProviderOf } from '../providers/provider-lookup.js'
import { reachOf, type GuardedFetch, type Reach } from '../security/guarded-fetch.js'
import {
  fetchAuthorizationServerMetadata,
  MAX_AUTHORIZATION_SERVERS,
} from './authorization-server-metadata.js'
import { configuredAuthorizationServer, withConfiguredEndpoints } from './configured-endpoints.js'
import { createDiscoveryQueue } from './discovery-queue.js'
import { createEarlyFetch } from './early-fetch.js'
import { failureKey } from './failures.js'
import { METADATA_REQUEST } from './fetch-metadata.js'
import { nameServer } from './name-server.js'
import { withRegistrationPath } from './provider-endpoints.js'
import { assertTrusted, type IsTrusted } from './trusted-issuer.js'
import { isGood, timed, type TimedResult } from './timed-result.js'
import { findResourceMetadata, likelyMetadataUrl, type ResourceMetadata } from './resource-metadata.js'

/** How long a discovery is used again, in milliseconds. */
export const DISCOVERY_LIFETIME = 5 * 60_000
/** How long a rejected token may not cause another discovery of the same server, in milliseconds. */
const FRESH_INTERVAL = 10_000
/** How many discoveries are kept. */
const CACHE_SIZE = 1000
/** How many of one server: it may name other metadata at each path, and others must not be forgotten for that. No more run or wait at a time. */
const MAX_PER_SERVER = 24

export interface DiscoverOptions {
  /** Do not trust the cache: a token of this server was just rejected, it may have moved (RFC 9728 §5.2). Defaults to false. */
  fresh?: boolean
  /** How private a network an undeclared upstream may lead to. Defaults to that of the URL in its challenge where the gateway is local, else to public ones. */
  reach?: Reach
}

/**
 * Finds the resource and the authorization server of an MCP server. The one discovery function: every
 * path through the library uses it, and its one cache.
 *
 * @param server undefined for an undeclared upstream: its challenge names the metadata, that names the resource.
 */
export interface Discover {
  (
    server: Server | undefined,
    challenge: Challenge | undefined,
    options?: DiscoverOptions,
  ): Promise<Discovered>
  /**
   * A discovery of this declared server is about to be asked for: the first of its requests is made now, beside the one
   * that will bring the challenge. Once in five minutes for each server that nothing is known of, since it may never challenge.
   */
  expect(server: Server): void
}

interface Entry extends TimedResult<Discovered> {
  readonly owner: string
}

export interface DiscoverConfig {
  /** Milliseconds that one request may take; a whole discovery may take twice as long. */
  readonly timeout: number
  /** The current time in epoch milliseconds. */
  readonly clock: () => number
  /** Whether the gateway is on loopback, where an undeclared upstream may be too. */
  readonly local: boolean
  readonly providerOf: ProviderOf
  readonly isTrusted: IsTrusted
}

export function createDiscover(
  fetch: GuardedFetch,
  { timeout, clock, local, providerOf, isTrusted }: DiscoverConfig,
): Discover {
  const cache = new BoundedMap<string, Entry>(CACHE_SIZE)
  const inTurn = createDiscoveryQueue()
  const early = createEarlyFetch(fetch, clock)

  async function discover(
    server: Server | undefined,
    challenge: Challenge | undefined,
    { fresh = false, reach }: DiscoverOptions = {},
  ): Promise<Discovered> {
    const { resourceMetadata, otherResourceMetadata } = challenge ?? {}
    const named = [resourceMetadata, otherResourceMetadata]
    const key = JSON.stringify([server?.name, server?.url, server?.oauth, named, reach])
    const cached = cache.get(key)
    const lifetime = fresh ? FRESH_INTERVAL : DISCOVERY_LIFETIME
    if (cached !== undefined && isGood(cached, clock(), lifetime)) return cached.result
    // From here on, so that nobody waits longer for having to wait for a turn.
    const withinDeadline = withDeadline(fetch, 2 * timeout)
    const earlyOrNow: GuardedFetch = async (url, init, reach) =>
      (await early.take(url, reach)) ?? withinDeadline(url, init, reach)
    const send = fresh ? withinDeadline : earlyOrNow
    const result = inTurn(server, () =>
      discoverOnce(server, challenge, send, reach ?? reachFor(server, challenge, local), {
        providerOf,
        isTrusted,
      }),
    ).catch((error: unknown) => {
      throw nameServer(error, server)
    })
    const entry: Entry = Object.assign(timed(result, clock), { owner: ownerOf(server, challenge) })
    const others = [...cache].filter(([other, { owner }]) => owner === entry.owner && other !== key)
    if (others.length >= MAX_PER_SERVER) cache.delete(others[0]?.[0] ?? '')
    cache.set(key, entry)
    return result
  }

  function expect(server: Server): void {
    const owner = ownerOf(server, undefined)
    const now = clock()
    if ([...cache.values()].some((it) => it.owner === owner && isGood(it, now, DISCOVERY_LIFETIME))) return
    const reach = reachFor(server, undefined, local)
    early.begin(likelyMetadataUrl(server), METADATA_REQUEST, reach, DISCOVERY_LIFETIME)
  }

  return Object.assign(discover, { expect })
}

/** An undeclared upstream is known by its origin: its name is its own to say. */
function ownerOf(server: Server | undefined, challenge: Challenge | undefined): string {
  if (server?.declared === true) return failureKey(server)
  const url = server?.url ?? challenge?.resourceMetadata
  return url !== undefined && URL.canParse(url) ? new URL(url).origin : ''
}

/** Discovery makes up to a dozen requests, one after the other: each has its own bound, and all have one together. */
function withDeadline(fetch: GuardedFetch, milliseconds: number): GuardedFetch {
  const signal = AbortSignal.timeout(milliseconds)
  return async (url, init, reach) => {
    try {
      return await fetch(url, { ...init, signal }, reach)
    } catch (error) {
      if (!signal.aborted) throw error
      throw new McpDcrError('request_timeout', `Discovery took longer than ${milliseconds} ms.`, {
        cause: error,
        fix: 'Try again; if the servers are known to be slow, raise the timeout option.',
      })
    }
  }
}

/** Metadata never leads to a more private network than the server itself lives on. */
function reachFor(server: Server | undefined, challenge: Challenge | undefined, local: boolean): Reach {
  const url = server?.url ?? challenge?.resourceMetadata
  return url !== undefined && URL.canParse(url) && (server?.declared === true || local)
    ? reachOf(url)
    : 'public'
}

/** What is known of issuers beforehand. */
type Issuers = Pick<DiscoverConfig, 'providerOf' | 'isTrusted'>

async function discoverOnce(
  server: Server | undefined,
  challenge: Challenge | undefined,
  fetch: GuardedFetch,
  reach: Reach,
  issuers: Issuers,
): Promise<Discovered> {
  const metadata = await findResourceMetadata(server, challenge, fetch, reach).catch((error: unknown) => {
    // Configured endpoints work without resource metadata, unless it is there and for another resource.
    if (
      hasConfiguredEndpoints(server) &&
      !(error instanceof McpDcrError && error.code === 'resource_mismatch')
    ) {
      return undefined
    }
    throw error
  })
  if (server === undefined && metadata === undefined) throw undeclaredWithoutMetadata()
  const found = await chooseAuthorizationServer(server, metadata, fetch, reach, issuers)
  assertTrusted(issuers.isTrusted, found.issuer)
  const authorizationServer = withRegistrationPath(found, issuers.providerOf(found.issuer))
  return {
    resource: metadata?.resource ?? server?.url ?? '',
    authorizationServer,
    ...(metadata?.scopesSupported !== undefined && { scopesSupported: metadata.scopesSupported }),
  }
}

async function chooseAuthorizationServer(
  server: Server | undefined,
  metadata: ResourceMetadata | undefined,
  fetch: GuardedFetch,
  reach: Reach,
  { providerOf, isTrusted }: Issuers,
): Promise<AuthorizationServerMetadata> {
  const lookUp = async (issuer: string): Promise<AuthorizationServerMetadata> => {
    assertTrusted(isTrusted, server?.oauth.issuer ?? issuer)
    const provider = providerOf(issuer)
    const allowMissing = server?.oauth.allowMissingPkceMetadata ?? provider?.allowMissingPkceMetadata
    return fetchAuthorizationServerMetadata(
      {
        issuer,
        pinnedIssuer: server?.oauth.issuer,
        allowMissingPkceMetadata: allowMissing === true,
        provider,
      },
      fetch,
      reach,
    )
  }
  const named = onlyTrusted(metadata?.authorizationServers ?? [], isTrusted)
  if (server !== undefined && hasConfiguredEndpoints(server)) {
    return configuredAuthorizationServer(server, named, lookUp)
  }
  let firstFailure: unknown
  for (const issuer of candidateIssuers(server, named, metadata)) {
    try {
      const found = await lookUp(issuer)
      return server === undefined ? found : withConfiguredEndpoints(found, server)
    } catch (error) {
      firstFailure ??= error
    }
  }
  const mayBeOld = server?.declared === true && server.oauth.defaultEndpoints !== false
  if (metadata === undefined && mayBeOld && isNotFound(firstFailure)) return defaultEndpoints(server)
  throw firstFailure
}

/** Those that are trusted; where none is, all, for the error that names the first. */
function onlyTrusted(issuers: readonly string[], isTrusted: IsTrusted): readonly string[] {
  const trusted = issuers.filter((issuer) => isTrusted(issuer))
  return trusted.length > 0 ? trusted : issuers
}

function candidateIssuers(
  server: Server | undefined,
  named: readonly string[],
  metadata: ResourceMetadata | undefined,
): readonly string[] {
  const pinned = server?.oauth.issuer
  // A pinned issuer goes first where it is named, and last where it is not: its metadata may be at another's URL.
  const first = pinned !== undefined && named.includes(pinned) ? [pinned] : []
  const last = pinned === undefined ? [] : [pinned]
  const issuers = [...new Set([...first, ...named])].slice(0, MAX_AUTHORIZATION_SERVERS)
  if (issuers.length + last.length > 0) return [...new Set([...issuers, ...last])]
  // Servers of 2025-03-26 have no resource metadata: the issuer is their own origin (SPEC 47).
  return [new URL(server?.url ?? metadata?.resource ?? '').origin]
}

/** SPEC 47: the endpoints that MCP 2025-03-26 prescribed for servers without any metadata. */
function defaultEndpoints(server: Server): AuthorizationServerMetadata {
  const { origin } = new URL(server.url)
  return withConfiguredEndpoints(
    {
      issuer: origin,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      registration_endpoint: `${origin}/register`,
    },
    server,
  )
}

function hasConfiguredEndpoints(server: Server | undefined): boolean {
  return server?.oauth.authorizationUrl !== undefined && server.oauth.tokenUrl !== undefined
}

function isNotFound(error: unknown): boolean {
  return error instanceof McpDcrError && error.code === 'discovery_failed'
}

function undeclaredWithoutMetadata(): McpDcrError {
  return new McpDcrError('discovery_failed', 'The upstream’s challenge names no resource metadata.', {
    fix: 'Declare the MCP server in the servers option, or in mcp.json.',
  })
}
