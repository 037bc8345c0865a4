import { mcp } from '@better-auth/mcp'
import { betterAuth, type BetterAuthOptions, type BetterAuthPlugin } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { getAuthTables } from 'better-auth/db'
import { toNodeHandler } from 'better-auth/node'
import { jwt } from 'better-auth/plugins'
import express, { type Request, type Response } from 'express'
import { html, page, PAGE_HEADERS } from '../support/html.js'
import { startMcpServer } from '../support/mcp-server.js'
import { listen } from '../support/server.js'
import type { AuthorizationPeer } from './authorization-peers.js'

/** better-auth as an authorization server of its own, its issuer below a path, and an MCP server elsewhere. */
export async function startBetterAuth(): Promise<AuthorizationPeer> {
  const server = await listen()
  const mcpServer = await startMcpServer({ issuer: `${server.url}/api/auth` })
  const database: Record<string, Record<string, unknown>[]> = {}
  const clients = () => database['oauthClient'] ?? []
  const options: BetterAuthOptions = {
    baseURL: server.url,
    secret: 'only for tests: 32 characters or more',
    database: memoryAdapter(database),
    emailAndPassword: { enabled: true, minPasswordLength: 1 },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { disabled: true },
    plugins: [
      jwt(),
      mcp({
        loginPage: '/login',
        consentPage: '/consent',
        resource: mcpServer.resource,
        scopes: ['openid', 'offline_access', 'mcp:read', 'mcp:write'],
        allowDynamicClientRegistration: true,
        allowUnauthenticatedClientRegistration: true,
        // Its type does not hold under `exactOptionalPropertyTypes`.
      }) as unknown as BetterAuthPlugin,
    ],
  }
  for (const { modelName } of Object.values(getAuthTables(options))) database[modelName] = []
  const auth = betterAuth(options)
  const { user } = await auth.api.signUpEmail({
    body: { name: 'alice', email: 'alice@example.com', password: 'any' },
  })

  /** What better-auth's browser client does from a page: the page's query goes along, the answer says where to go. */
  async function call(req: Request, res: Response, path: string, body: object): Promise<void> {
    const answer = await auth.handler(
      new Request(`${server.url}/api/auth${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: server.url, cookie: req.get('cookie') ?? '' },
        body: JSON.stringify({ ...body, oauth_query: req.url.slice(req.url.indexOf('?') + 1) }),
      }),
    )
    const { url } = (await answer.json()) as { url: string }
    for (const cookie of answer.headers.getSetCookie()) res.append('set-cookie', cookie)
    res.redirect(url)
  }

  const app = express()
  app
    .route('/login')
    .get((_req, res) => {
      const form = html`<form method="post">
        <label>Name <input name="login" /></label>
        <label>Password <input name="password" type="password" /></label>
        <button>Sign in</button>
      </form>`
      res.set(PAGE_HEADERS).send(page('Sign in', form))
    })
    .post(express.urlencoded(), (req, res) => {
      const { login, password } = req.body as { login: string; password: string }
      return call(req, res, '/sign-in/email', { email: `${login}@example.com`, password })
    })
  app
    .route('/consent')
    .get((_req, res) => {
      const form = html`<form method="post"><button name="decision" value="allow">Allow</button></form>`
      res.set(PAGE_HEADERS).send(page('Consent', form))
    })
    .post(express.urlencoded(), (req, res) =>
      call(req, res, '/oauth2/consent', { accept: (req.body as { decision: string }).decision === 'allow' }),
    )
  app.use(toNodeHandler(auth))
  server.serve(app)
  return {
    mcpUrl: mcpServer.url,
    alice: user.id,
    authMethodsOfClients: () => clients().map((it) => it.tokenEndpointAuthMethod),
    forgetClients: () => void clients().splice(0),
    count: (endpoint) => server.count('POST', `/api/auth/oauth2/${endpoint}`),
    close: async () => {
      await Promise.all([server.close(), mcpServer.close()])
    },
  }
}
