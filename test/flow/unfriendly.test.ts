import { randomBytes } from 'node:crypto'
import type { Request } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { express4 } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway, type DcrGatewayOptions } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { listen, type TestServer } from '../support/server.js'

// Requests that others would make on a person's behalf, and upstreams that reach for what is not theirs.

let world: World
let gateway: DcrGateway
let alice: Person

async function start(options: Partial<DcrGatewayOptions> = {}): Promise<void> {
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url }, ...options })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
}

beforeEach(async () => {
  world = await startWorld()
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const OWN_TOKEN = 'Bearer of-the-client'

/** Every Authorization that the MCP server got at its endpoint. */
function seenUpstream(): (string | undefined)[] {
  return world.mcpServer.requests
    .filter(({ path }) => !path.startsWith('/.well-known/'))
    .map(({ authorization }) => authorization)
}

describe.each([
  ['Express 5', undefined],
  ['Express 4', express4],
])('a route with the server’s name as parameter, %s', (_version, express) => {
  it.each(['/mcp/notes', '/mcp/n%6Ftes', '/MCP/%4E%4f%54%45%53/', '/mcp/notes/%zz'])(
    'never passes the client’s own Authorization on from %s (SPEC 35)',
    async (path) => {
      await start({
        mountServers: false,
        ...(express !== undefined && { express }),
        routes: (app) => {
          const proxy = createProxyMiddleware({ target: world.mcpServer.origin, pathRewrite: () => '/mcp' })
          app.use('/mcp/:name', (req, res, next) => void proxy(req, res, next))
        },
      })
      const answer = await alice.fetch(gateway.url + path, { headers: { authorization: OWN_TOKEN } })
      expect(answer.headers.get('www-authenticate')).toBeNull()
      expect(seenUpstream()).not.toContain(OWN_TOKEN)
    },
  )
})

describe('the MCP server', () => {
  it('sees the gateway’s cookies without those of unfinished sign-ins', async () => {
    await start()
    await alice.open(`${gateway.url}/mcp/notes/page`)
    await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(Object.keys(alice.cookies(gateway.url))).toHaveLength(3)
    expect(world.mcpServer.requests.at(-1)?.headers.cookie).toBe('user=alice')
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })

  it('cannot fill the browser’s cookies by its scopes until no request gets through', async () => {
    const scopes = (): string =>
      Array.from({ length: 60 }, () => randomBytes(15).toString('base64url')).join(' ')
    await start({
      servers: { notes: world.mcpServer.url, other: world.mcpServer.url },
      options: () => ({
        servers: {
          notes: { url: world.mcpServer.url, oauthConfig: { clientId: 'by-hand' } },
          other: world.mcpServer.url,
        },
      }),
    })
    world.mcpServer.challenge = () => `Bearer scope="${scopes()}"`
    for (let i = 0; i < 8; i++) expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(302)
    const bytes = Object.entries(alice.cookies(gateway.url)).join('; ').length
    expect(bytes).toBeLessThan(8192 + 'user=alice'.length * 2)
    expect((await alice.open(`${gateway.url}/api/oauth/connections`)).status).toBe(200)
  })
})

describe('req.mcp.fetch', () => {
  let evil: TestServer

  beforeEach(async () => {
    evil = await listen()
  })
  afterEach(() => evil.close())

  /** `GET /fetch?url=…` fetches it in the person's name. */
  function withFetchRoute(options: Partial<DcrGatewayOptions> = {}): Promise<void> {
    return start({
      mountServers: false,
      ...options,
      routes: (app) => {
        app.all('/fetch', async (req: Request, res) => {
          const init: RequestInit =
            req.method === 'POST' ? { method: 'POST', body: req as never, duplex: 'half' } : {}
          const answer = await req.mcp.fetch(String(req.query.url), init)
          res.status(answer.status).send(await answer.text())
        })
      },
    })
  }

  const fetchUrl = (url: string): string => `${gateway.url}/fetch?url=${encodeURIComponent(url)}`
  const pageUrl = (): string => fetchUrl(`${world.mcpServer.url}/page`)

  it('lends no token to an upstream that names the metadata of another (SPEC 34)', async () => {
    await withFetchRoute({ servers: {} })
    expect((await alice.signIn(pageUrl())).status).toBe(200)
    const metadata = `${world.mcpServer.origin}/.well-known/oauth-protected-resource/mcp`
    evil.intercept = (_req, res) => {
      res.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` }).end()
      return true
    }
    const answer = await alice.open(fetchUrl(`${evil.url}/x`))
    expect(answer.status).toBe(502)
    expect(answer.text).toContain('resource_mismatch')
    expect(evil.requests.map(({ authorization }) => authorization)).toEqual([undefined])
    expect((await alice.open(pageUrl())).status).toBe(200)
  })

  it('ends in an error, not in a circle of redirects, where even a new token is rejected', async () => {
    await withFetchRoute()
    world.mcpServer.rejectAll = true
    const page = await alice.signIn(pageUrl())
    expect([page.status, page.headers.get('content-type')]).toEqual([502, 'text/html; charset=utf-8'])
    expect(page.text).toContain('Error code: token_rejected')
  })

  it('keeps a renewed token where the body of the request could not be sent again', async () => {
    await withFetchRoute()
    await alice.signIn(pageUrl())
    world.mcpServer.revokeSeen()
    const upload = { method: 'POST', body: '{}' }
    const answer = await alice.fetch(fetchUrl(world.mcpServer.url), upload)
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([503, 'token_renewed'])
    expect((await alice.open(pageUrl())).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/token')).toBe(2)
  })

  it('asks for a sign-in where more scope is needed, and leaves other 403s to the handler (SPEC 3)', async () => {
    await withFetchRoute()
    await alice.signIn(pageUrl())
    let challenge = 'Bearer error="insufficient_scope", scope="mcp:read read"'
    world.mcpServer.intercept = (_req, res, { path }) => {
      if (path !== '/mcp/page') return false
      res.writeHead(403, { 'www-authenticate': challenge }).end('no')
      return true
    }
    const page = await alice.open(pageUrl())
    expect(new URL(page.location ?? '').searchParams.get('scope')?.split(' ')).toEqual(
      expect.arrayContaining(['mcp:read', 'mcp:write', 'read']),
    )
    challenge = 'Bearer error="insufficient_scope", scope="mcp:read"'
    const refused = await alice.open(pageUrl())
    expect([refused.status, refused.text]).toEqual([403, 'no'])
  })

  it('becomes an answer also where a library has wrapped its error, and Express answers 500', async () => {
    await start({
      mountServers: false,
      routes: (app) => {
        app.get('/wrapped', async (req) => {
          try {
            await req.mcp.fetch(world.mcpServer.url)
          } catch (cause) {
            throw new Error('of a library', { cause })
          }
        })
        app.get('/unrelated', () => {
          throw new Error('of the gateway itself')
        })
      },
    })
    expect((await alice.open(`${gateway.url}/wrapped`)).status).toBe(302)
    expect((await alice.open(`${gateway.url}/unrelated`)).status).toBe(500)
  })
})

describe('servers that a function of the request returns', () => {
  it('are all there is: with none, no upstream’s challenge is followed', async () => {
    await start({
      options: () => ({ servers: () => ({}) }),
      mountServers: false,
      routes: (app) => void app.use('/x', createProxyMiddleware({ target: world.mcpServer.url })),
    })
    expect((await alice.open(`${gateway.url}/x/page`)).status).toBe(401)
    expect(world.authorizationServer.requests).toEqual([])
  })

  it('need a request: dcr.fetch and dcr.connections say so', async () => {
    await start({ options: () => ({ servers: () => ({ notes: world.mcpServer.url }) }) })
    const error = expect.objectContaining({ code: 'invalid_options' })
    expect(() => gateway.dcr.fetch('alice', 'notes')).toThrow(error)
    await expect(gateway.dcr.connections('alice')).rejects.toEqual(error)
  })
})

describe('a 307 after a refresh', () => {
  it('leads to the same address, however long', async () => {
    await start()
    await alice.signIn(`${gateway.url}/mcp/notes/page`)
    world.mcpServer.revokeSeen()
    const address = `${gateway.url}/mcp/notes?q=${'x'.repeat(5000)}`
    const answer = await alice.fetch(address, { method: 'POST', body: '{}' })
    expect([answer.status, answer.location === address]).toEqual([307, true])
  })
})

describe('a callback that is loaded twice at once', () => {
  it('ends where the first one ends', async () => {
    await start()
    const { location } = await alice.signIn(`${gateway.url}/mcp/notes/page`, {
      until: ({ pathname }) => pathname === '/api/oauth/callback',
    })
    const answers = await Promise.all([alice.open(location ?? ''), alice.open(location ?? '')])
    expect(answers.map((answer) => [answer.status, answer.location])).toEqual([
      [303, `${gateway.url}/mcp/notes/page`],
      [303, `${gateway.url}/mcp/notes/page`],
    ])
    expect(world.authorizationServer.count('POST', '/token')).toBe(1)
  })
})
