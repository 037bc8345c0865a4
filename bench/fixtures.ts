import type { AuthorizationServerMetadata, Connection } from '../src/model.js'

/** The name of the one server. */
export const SERVER = 'notes'

/** How many connections are kept open: `MAX_OPENED` of src/store/records.ts. */
export const KEPT_OPEN = 20_000

export function userAt(n: number): string {
  return `user-${n}`
}

/** Where the connections belong. */
export interface Place {
  /** The MCP server's origin, which is its authorization server too. */
  readonly upstream: string
  readonly redirectUri: string
}

/** A connection as a sign-in leaves it; one that has expired will be refreshed. */
export function connectionOf(user: string, place: Place, expired = false): Connection {
  const now = Date.now()
  return {
    user,
    server: SERVER,
    serverUrl: `${place.upstream}/mcp`,
    status: 'connected',
    resource: `${place.upstream}/mcp`,
    clientSource: 'dynamic',
    clientId: 'client-1',
    redirectUri: place.redirectUri,
    authorizationServer: authorizationServerOf(place.upstream),
    // As long as those of most issuers, which are JWTs.
    accessToken: `${expired ? 'expired' : 'live'}-${user}-${'x'.repeat(600)}`,
    refreshToken: `refresh-${user}-0`,
    expiresAt: expired ? now - 1000 : now + 86_400_000,
    scope: 'notes',
    requestedScope: 'notes',
    obtainedBy: 'authorization',
    obtainedAt: now - 3_600_000,
    connectedAt: now - 3_600_000,
  }
}

export function authorizationServerOf(origin: string): AuthorizationServerMetadata {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    scopes_supported: ['notes'],
    token_endpoint_auth_methods_supported: ['none'],
    code_challenge_methods_supported: ['S256'],
  }
}
