import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { AuthorizationServerMetadata } from '../model.js'
import { matchesIssuer } from '../providers/match-issuer.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { assertEndpointUrl, type GuardedFetch, type Reach } from '../security/guarded-fetch.js'
import { fetchMetadata, requiredString, stringList } from './fetch-metadata.js'
import { metadataUrlOf } from './provider-endpoints.js'

/** How many of a resource's authorization servers are tried (SPEC 8). */
export const MAX_AUTHORIZATION_SERVERS = 3

/** How one issuer's metadata is looked for and judged. */
export interface IssuerLookup {
  /** The issuer identifier from which the URLs are built (SPEC 10). */
  readonly issuer: string
  /** What the document's `issuer` must be. Defaults to `issuer`. */
  readonly pinnedIssuer: string | undefined
  /** The per-server override of SPEC 13. */
  readonly allowMissingPkceMetadata: boolean
  /** Of the issuer that is asked for. */
  readonly provider: ProviderProfile | undefined
}

/**
 * Fetches and checks authorization server metadata (RFC 8414 §3, OpenID Connect Discovery §4).
 *
 * @throws McpDcrError `discovery_failed` where no URL has a document, `issuer_mismatch`,
 * `pkce_not_supported`, `insecure_url` or `metadata_invalid` where the document cannot be used.
 */
export async function fetchAuthorizationServerMetadata(
  lookup: IssuerLookup,
  fetch: GuardedFetch,
  reach: Reach,
): Promise<AuthorizationServerMetadata> {
  const failures: McpDcrError[] = []
  for (const url of metadataUrls(assertEndpointUrl(lookup.issuer, 'issuer'), lookup.provider)) {
    const answer = await fetchMetadata(url, fetch, reach)
    if (answer.found) return read(answer.document, url, lookup)
    failures.push(answer.failure)
  }
  const telling = failures.find((failure) => failure.code !== 'discovery_failed')
  if (telling !== undefined) throw telling
  throw new McpDcrError(
    'discovery_failed',
    `No authorization server metadata was found for ${quoteUntrusted(lookup.issuer)}: ${failures.map((f) => f.message).join(' ')}`,
    {
      fix: 'Set oauthConfig.authorizationUrl and oauthConfig.tokenUrl for this server, or correct its issuer.',
    },
  )
}

function metadataUrls(issuer: URL, provider: ProviderProfile | undefined): URL[] {
  const { origin, pathname } = issuer
  // SPEC 11: a trailing slash is stripped to build URLs, never to compare.
  const path = pathname.replace(/\/$/, '')
  const inserted = [
    `/.well-known/oauth-authorization-server${path}`,
    `/.well-known/openid-configuration${path}`,
  ]
  const appended = path === '' ? [] : [`${path}/.well-known/openid-configuration`]
  const standard = [...inserted, ...appended].map((pathAndName) => origin + pathAndName)
  const first = metadataUrlOf(issuer, provider)
  return [...new Set([...(first === undefined ? [] : [first]), ...standard])].map((url) => new URL(url))
}

function read(
  document: Readonly<Record<string, unknown>>,
  url: URL,
  lookup: IssuerLookup,
): AuthorizationServerMetadata {
  const issuer = requiredString(document, 'issuer', url)
  assertIssuer(issuer, lookup)
  const endpoint = (member: string): string => {
    const what = `${member} of ${quoteUntrusted(lookup.issuer)}`
    const { href } = assertEndpointUrl(requiredString(document, member, url), what)
    // Longer than it was, where it had to be encoded.
    return requiredString({ [member]: href }, member, url)
  }
  const optionalEndpoint = (member: string): Record<string, string> =>
    typeof document[member] === 'string' && document[member] !== '' ? { [member]: endpoint(member) } : {}
  const list = (member: string): Record<string, readonly string[]> => {
    const values = stringList(document[member])
    return values === undefined ? {} : { [member]: values }
  }
  const flag = (member: string): Record<string, true> => (document[member] === true ? { [member]: true } : {})
  const metadata: AuthorizationServerMetadata = {
    issuer,
    authorization_endpoint: endpoint('authorization_endpoint'),
    token_endpoint: endpoint('token_endpoint'),
    ...optionalEndpoint('registration_endpoint'),
    ...optionalEndpoint('revocation_endpoint'),
    ...list('scopes_supported'),
    ...list('token_endpoint_auth_methods_supported'),
    ...list('code_challenge_methods_supported'),
    ...flag('authorization_response_iss_parameter_supported'),
    ...flag('client_id_metadata_document_supported'),
  }
  assertPkce(metadata, lookup.allowMissingPkceMetadata)
  assertEndpointsOfPinned(metadata, lookup)
  return metadata
}

/**
 * RFC 8414 §3.3: identical, else not used. Forgiven are the slash of an issuer without a path (SPEC 12), and what
 * the provider is known to name instead, unless the issuer is pinned.
 */
function assertIssuer(
  issuer: string,
  { issuer: asked, pinnedIssuer, provider: { metadataIssuers = [] } = {} as ProviderProfile }: IssuerLookup,
): void {
  const expected = pinnedIssuer ?? asked
  if (issuer === expected || isSameBareOrigin(issuer, expected)) return
  if (pinnedIssuer === undefined && matchesIssuer(metadataIssuers, issuer)) return
  throw new McpDcrError(
    'issuer_mismatch',
    `The metadata names the issuer ${quoteUntrusted(issuer)}, but ${quoteUntrusted(expected)} was asked for.`,
    {
      fix: 'If the provider is known to do this, set oauthConfig.issuer of this server to the issuer that its metadata names.',
    },
  )
}

/**
 * A pinned issuer lets a document name another issuer than the one it was found at, which anybody's document
 * could: away from the pinned issuer's origin, it is believed only as far as it leads there.
 */
function assertEndpointsOfPinned(
  metadata: AuthorizationServerMetadata,
  { issuer, pinnedIssuer }: IssuerLookup,
): void {
  if (pinnedIssuer === undefined) return
  const { origin } = new URL(pinnedIssuer)
  if (new URL(issuer).origin === origin) return
  const { authorization_endpoint, token_endpoint, registration_endpoint = origin } = metadata
  const endpoints = [authorization_endpoint, token_endpoint, registration_endpoint]
  if (endpoints.every((endpoint) => new URL(endpoint).origin === origin)) return
  throw new McpDcrError(
    'issuer_mismatch',
    `The metadata found at ${quoteUntrusted(issuer)} names the issuer ${pinnedIssuer}, but endpoints elsewhere.`,
    {
      fix: 'If they are the provider’s own, set oauthConfig.authorizationUrl and oauthConfig.tokenUrl of this server.',
    },
  )
}

function isSameBareOrigin(a: string, b: string): boolean {
  return `${a}/` === b ? new URL(b).pathname === '/' : a === `${b}/` && new URL(a).pathname === '/'
}

function assertPkce(metadata: AuthorizationServerMetadata, allowMissing: boolean): void {
  const methods = metadata.code_challenge_methods_supported
  if (methods === undefined ? allowMissing : methods.includes('S256')) return
  throw new McpDcrError(
    'pkce_not_supported',
    `The metadata of ${quoteUntrusted(metadata.issuer)} does not offer PKCE with S256.`,
    {
      fix:
        methods === undefined
          ? 'If the provider supports PKCE without saying so, set oauthConfig.dangerouslyAllowMissingPkceMetadata.'
          : 'The provider has to support S256.',
    },
  )
}
