import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, Server } from '../model.js'
import { MAX_AUTHORIZATION_SERVERS } from './authorization-server-metadata.js'

/**
 * The authorization server of a server whose `authorizationUrl` and `tokenUrl` are configured. Its
 * metadata is still looked for (at the configured issuer, at those that the resource names on the same
 * origin, at the authorization URL's origin), because it holds the registration endpoint and the issuer;
 * the configured endpoints win over it. Without metadata the endpoints alone must do.
 */
export async function configuredAuthorizationServer(
  server: Server,
  namedIssuers: readonly string[],
  lookUp: (issuer: string) => Promise<AuthorizationServerMetadata>,
): Promise<AuthorizationServerMetadata> {
  const { issuer: pinned, authorizationUrl = '', tokenUrl = '', clientId } = server.oauth
  const { origin } = new URL(authorizationUrl)
  const sameOrigin = namedIssuers
    .filter((issuer) => URL.canParse(issuer) && new URL(issuer).origin === origin)
    .slice(0, MAX_AUTHORIZATION_SERVERS)
  let noAnswer: McpDcrError | undefined
  for (const issuer of new Set([...(pinned === undefined ? [] : [pinned]), ...sameOrigin, origin])) {
    try {
      return withConfiguredEndpoints(await lookUp(issuer), server)
    } catch (error) {
      // A document that is there but must not be used is an error; one that is not there is not missed, and
      // neither is another issuer's where the issuer is pinned: the provider's other tenants are not meant.
      const isOthers = pinned !== undefined && issuer !== pinned && hasCode(error, ISSUER_MISMATCH)
      if (hasCode(error, NO_ANSWER)) noAnswer ??= error
      else if (!isOthers && !hasCode(error, NOT_THERE)) throw error
    }
  }
  // A server that is down has not said that it has no metadata. A configured client can do without, but
  // registration cannot: "does not offer it" would be a wrong answer.
  if (noAnswer !== undefined && clientId === undefined) throw noAnswer
  return withConfiguredEndpoints(
    { issuer: pinned ?? origin, authorization_endpoint: authorizationUrl, token_endpoint: tokenUrl },
    server,
  )
}

function hasCode(error: unknown, codes: ReadonlySet<string>): error is McpDcrError {
  return error instanceof McpDcrError && codes.has(error.code)
}

const ISSUER_MISMATCH = new Set(['issuer_mismatch'])
const NOT_THERE = new Set(['discovery_failed', 'metadata_invalid', 'redirect_refused', 'response_too_large'])
const NO_ANSWER = new Set(['request_failed', 'request_timeout'])

/** What the gateway's author configured wins over what the metadata says. */
export function withConfiguredEndpoints(
  metadata: AuthorizationServerMetadata,
  { oauth }: Server,
): AuthorizationServerMetadata {
  return {
    ...metadata,
    ...(oauth.authorizationUrl !== undefined && { authorization_endpoint: oauth.authorizationUrl }),
    ...(oauth.tokenUrl !== undefined && { token_endpoint: oauth.tokenUrl }),
    ...(oauth.registrationUrl !== undefined && { registration_endpoint: oauth.registrationUrl }),
  }
}
