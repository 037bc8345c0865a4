import { randomUUID } from 'node:crypto'
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import { InvalidGrantError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js'
import type {
  AuthorizationParams,
  OAuthServerProvider,
} from '@modelcontextprotocol/sdk/server/auth/provider.js'
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthRouter,
} from '@modelcontextprotocol/sdk/server/auth/router.js'
import type { OAuthClientInformationFull, OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js'
import express, { type Response } from 'express'
import { html, page, PAGE_HEADERS } from '../support/html.js'
import { mcpHandler } from '../support/mcp-handler.js'
import { listen } from '../support/server.js'
import type { AuthorizationPeer } from './authorization-peers.js'

interface Grant {
  readonly params: AuthorizationParams
  readonly clientId: string
  readonly login: string
}

const LIFETIME = 3600

/** What the SDK leaves to the server's author: clients, codes and tokens in memory, and a page to sign in on. */
class MemoryProvider implements OAuthServerProvider {
  readonly clients = new Map<string, OAuthClientInformationFull>()
  readonly #waiting = new Map<string, Omit<Grant, 'login'>>()
  readonly #codes = new Map<string, Grant>()
  readonly #accessTokens = new Map<string, Grant>()
  readonly #refreshTokens = new Map<string, Grant>()

  readonly clientsStore = {
    getClient: (id: string) => this.clients.get(id),
    registerClient: (client: Omit<OAuthClientInformationFull, 'client_id'>) => {
      const registered = client as OAuthClientInformationFull
      this.clients.set(registered.client_id, registered)
      return registered
    },
  }

  async authorize(client: OAuthClientInformationFull, params: AuthorizationParams, res: Response) {
    const id = randomUUID()
    this.#waiting.set(id, { params, clientId: client.client_id })
    const form = html`<form method="post" action="/sign-in">
      <input type="hidden" name="id" value="${id}" />
      <label>Name <input name="login" /></label>
      <label>Password <input name="password" type="password" /></label>
      <button>Sign in</button>
    </form>`
    res.set(PAGE_HEADERS).send(page('Sign in', form))
  }

  /** The redirect that answers the authorization request. */
  signIn(id: string, login: string): string {
    const waiting = this.#waiting.get(id)
    if (!waiting) throw new Error('unknown sign-in')
    this.#waiting.delete(id)
    const code = randomUUID()
    this.#codes.set(code, { ...waiting, login })
    const url = new URL(waiting.params.redirectUri)
    url.searchParams.set('code', code)
    if (waiting.params.state !== undefined) url.searchParams.set('state', waiting.params.state)
    return url.href
  }

  async challengeForAuthorizationCode(_client: OAuthClientInformationFull, code: string) {
    const grant = this.#codes.get(code)
    if (!grant) throw new InvalidGrantError('unknown code')
    return grant.params.codeChallenge
  }

  async exchangeAuthorizationCode(client: OAuthClientInformationFull, code: string) {
    return this.#issue(take(this.#codes, code, client))
  }

  async exchangeRefreshToken(client: OAuthClientInformationFull, refreshToken: string) {
    return this.#issue(take(this.#refreshTokens, refreshToken, client))
  }

  async verifyAccessToken(token: string) {
    const grant = this.#accessTokens.get(token)
    if (!grant) throw new InvalidTokenError('unknown access token')
    const { resource, scopes = [] } = grant.params
    return {
      token,
      clientId: grant.clientId,
      scopes,
      expiresAt: Math.floor(Date.now() / 1000) + LIFETIME,
      ...(resource && { resource }),
      extra: { subject: grant.login },
    }
  }

  async revokeToken(_client: OAuthClientInformationFull, { token }: { token: string }) {
    this.#accessTokens.delete(token)
    this.#refreshTokens.delete(token)
  }

  #issue(grant: Grant): OAuthTokens {
    const tokens = { access_token: randomUUID(), refresh_token: randomUUID() }
    this.#accessTokens.set(tokens.access_token, grant)
    this.#refreshTokens.set(tokens.refresh_token, grant)
    const scope = (grant.params.scopes ?? []).join(' ')
    return { ...tokens, token_type: 'bearer', expires_in: LIFETIME, scope }
  }
}

/** Codes and refresh tokens are good once, and for the client that they were issued to. */
function take(held: Map<string, Grant>, key: string, client: OAuthClientInformationFull): Grant {
  const grant = held.get(key)
  if (grant?.clientId !== client.client_id) throw new InvalidGrantError('unknown code or token')
  held.delete(key)
  return grant
}

/** The way that the SDK's documentation shows: one app is authorization server and MCP server at once. */
export async function startMcpAuthRouter(): Promise<AuthorizationPeer> {
  const server = await listen()
  const provider = new MemoryProvider()
  const resourceServerUrl = new URL('/mcp', server.url)
  const app = express()
  app.use(
    mcpAuthRouter({
      provider,
      issuerUrl: new URL(server.url),
      resourceServerUrl,
      scopesSupported: ['mcp:read', 'mcp:write'],
    }),
  )
  app.post('/sign-in', express.urlencoded(), (req, res) => {
    const { id, login } = req.body as { id: string; login: string }
    res.redirect(provider.signIn(id, login))
  })
  const authenticate = requireBearerAuth({
    verifier: provider,
    requiredScopes: ['mcp:read'],
    resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resourceServerUrl),
    expectedResource: resourceServerUrl,
  })
  app.all('/mcp', express.json(), authenticate, mcpHandler({}))
  server.serve(app)
  return {
    mcpUrl: resourceServerUrl.href,
    alice: 'alice',
    authMethodsOfClients: () => [...provider.clients.values()].map((it) => it.token_endpoint_auth_method),
    forgetClients: () => provider.clients.clear(),
    count: (endpoint) => server.count('POST', `/${endpoint}`),
    close: () => server.close(),
  }
}
