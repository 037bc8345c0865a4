import { startBetterAuth } from './better-auth.js'
import { startMcpAuthRouter } from './mcp-auth-router.js'

/** An authorization server with dynamic client registration that others wrote, and an MCP server that checks its tokens. */
export interface AuthorizationPeer {
  readonly mcpUrl: string
  /** Who `whoami` says Alice is. */
  readonly alice: string
  /** The `token_endpoint_auth_method` of each client that it knows. */
  authMethodsOfClients(): unknown[]
  /** Prunes all clients without telling anyone. */
  forgetClients(): void
  /** How many requests came for this endpoint. */
  count(endpoint: 'register' | 'token' | 'revoke'): number
  close(): Promise<void>
}

interface NamedPeer {
  readonly name: string
  readonly start: () => Promise<AuthorizationPeer>
  /** How its clients may authenticate; the first is what is asked for by default. */
  readonly authMethods: readonly ('none' | 'client_secret_post' | 'client_secret_basic')[]
}

export const AUTHORIZATION_PEERS: readonly NamedPeer[] = [
  {
    name: 'the MCP SDK’s mcpAuthRouter',
    start: startMcpAuthRouter,
    // It registers clients with `client_secret_basic` too, and then refuses their token requests.
    authMethods: ['none', 'client_secret_post'],
  },
  {
    name: 'better-auth’s mcp plugin',
    start: startBetterAuth,
    authMethods: ['none', 'client_secret_post', 'client_secret_basic'],
  },
]
