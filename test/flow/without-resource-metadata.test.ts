import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startAuthorizationServer, type AuthorizationServer } from '../support/authorization-server.js'
import { callTool } from '../support/call-tool.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startMcpServer, type McpServer } from '../support/mcp-server.js'
import { browserOf, connect, NOTES_PAGE, tokenRequests } from '../support/visit.js'

// Servers of MCP 2025-03-26: the MCP endpoint and its authorization server on one origin, without resource metadata.

const ASM = '/.well-known/oauth-authorization-server'
const OIDC = '/.well-known/openid-configuration'

let authorizationServer: AuthorizationServer
/** Behind the authorization server's origin. */
let mcpServer: McpServer
let url: string
let gateway: DcrGateway
let now: number

async function start(hidden: readonly string[], challenge: string | undefined): Promise<void> {
  authorizationServer = await startAuthorizationServer({
    configure: (configuration) => {
      configuration.routes = { authorization: '/authorize', token: '/token', registration: '/register' }
    },
  })
  url = `${authorizationServer.url}/mcp`
  const { issuer, jwks } = authorizationServer
  mcpServer = await startMcpServer({
    issuer,
    jwks,
    resource: url,
    metadataAt: [],
    challenge: () => challenge,
  })
  const proxy = createProxyMiddleware({ target: mcpServer.origin })
  authorizationServer.intercept = (req, res, { path }) => {
    if (path.startsWith('/mcp')) void proxy(req, res, () => undefined)
    else if (hidden.includes(path)) res.writeHead(404).end()
    else return false
    return true
  }
}

beforeEach(() => void (now = Date.now()))

afterEach(async () => {
  await gateway.close()
  await Promise.all([authorizationServer.close(), mcpServer.close()])
})

/** What was asked for below `/.well-known/`, in order. */
function discovery(): { path: string; version: string | string[] | undefined }[] {
  return authorizationServer.requests
    .filter(({ path }) => path.startsWith('/.well-known/'))
    .map(({ path, headers }) => ({ path, version: headers['mcp-protocol-version'] }))
}

describe.each([
  ['authorization server metadata on its origin', []],
  ['an OpenID configuration there', [ASM]],
  ['neither: its endpoints are /authorize, /token and /register', [ASM, OIDC]],
])('a server of 2025-03-26 with %s (SPEC 47)', (_name, hidden) => {
  it.each([
    ['a bare challenge', 'Bearer'],
    ['no challenge', undefined],
  ])('signs people in, and is called and refreshed with the resource: %s', async (_challenge, challenge) => {
    await start(hidden, challenge)
    gateway = await startDcrGateway({ servers: { notes: url }, options: () => ({ clock: () => now }) })
    const alice = await connect('alice', gateway.url)
    expect(authorizationServer.count('POST', '/register')).toBe(1)
    const [authorized] = authorizationServer.requests.filter(({ path }) => path === '/authorize')
    expect(new URL(authorized?.url ?? '', url).searchParams.get('resource')).toBe(url)
    const whoami = await callTool(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } }, 'whoami')
    expect(whoami.text).toBe('alice')
    now += 3_600_000
    expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    for (const grant of ['authorization_code', 'refresh_token']) {
      const sent = tokenRequests(authorizationServer, grant).map(({ form }) => form.get('resource'))
      expect(sent).toEqual([url])
    }
    const tried = [ASM, OIDC].slice(0, Math.min(hidden.length + 1, 2))
    const prm = '/.well-known/oauth-protected-resource'
    expect(discovery().map(({ path }) => path)).toEqual([`${prm}/mcp`, prm, ...tried])
    for (const { version } of discovery()) expect(version).toMatch(/^\d{4}-\d\d-\d\d$/)
  })
})

describe('the endpoints that 2025-03-26 prescribed', () => {
  it('are those of declared servers alone: an undeclared upstream’s 401 is its own', async () => {
    await start([ASM, OIDC], 'Bearer')
    gateway = await startDcrGateway({
      servers: {},
      routes: (app) => {
        app.use('/proxied', createProxyMiddleware({ target: url, changeOrigin: true }))
        app.get('/fetched', async (req, res) => {
          res.sendStatus((await req.mcp.fetch(`${url}/page`)).status)
        })
      },
    })
    const alice = browserOf('alice', gateway.url)
    for (const path of ['/proxied/page', '/fetched']) {
      expect((await alice.open(gateway.url + path)).status).toBe(401)
    }
    expect(authorizationServer.requests.filter(({ path }) => !path.startsWith('/mcp'))).toEqual([])
  })

  it('are not tried where defaultEndpoints is false: the error says what to configure', async () => {
    await start([ASM, OIDC], 'Bearer')
    gateway = await startDcrGateway({
      servers: { notes: url },
      options: () => ({ servers: { notes: { url, oauthConfig: { defaultEndpoints: false } } } }),
    })
    const page = await browserOf('alice', gateway.url).open(gateway.url + NOTES_PAGE)
    expect([page.status, page.text]).toEqual([502, expect.stringContaining('discovery_failed')])
    expect(page.text).toContain('oauthConfig.authorizationUrl')
    expect(authorizationServer.count('POST', '/register')).toBe(0)
  })

  it('do not stand in for metadata that is down', async () => {
    await start([OIDC], 'Bearer')
    const { intercept } = authorizationServer
    authorizationServer.intercept = (req, res, request) => {
      if (request.path !== ASM) return intercept?.(req, res, request) ?? false
      res.writeHead(503).end()
      return true
    }
    gateway = await startDcrGateway({ servers: { notes: url } })
    const page = await browserOf('alice', gateway.url).open(gateway.url + NOTES_PAGE)
    expect([page.status, page.text]).toEqual([502, expect.stringContaining('request_failed')])
    expect(authorizationServer.count('POST', '/register')).toBe(0)
  })
})
