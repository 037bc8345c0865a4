import type { AddressInfo } from 'node:net'
import { createServer } from 'node:http'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, userOf, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let alice: Person

async function start(servers: Record<string, string>): Promise<void> {
  gateway = await startDcrGateway({
    servers,
    mountServers: false,
    options: () => ({ user: userOf }),
    routes: (app) => {
      app.use('/proxied', createProxyMiddleware({ target: world.mcpServer.url, changeOrigin: true }))
      app.get('/page', async (req, res) => {
        const answer = await req.mcp.fetch(`${world.mcpServer.url}/page`)
        res.status(answer.status).send(await answer.text())
      })
      app.post('/whoami', async (req, res) => {
        const client = new Client({ name: 'gateway', version: '1' })
        await client.connect(
          new StreamableHTTPClientTransport(new URL(world.mcpServer.url), { fetch: req.mcp.fetch }),
        )
        res.json(await client.callTool({ name: 'whoami', arguments: {} }))
        await client.close()
      })
      app.get('/own-401', (_req, res) => {
        res.status(401).set('WWW-Authenticate', 'Basic realm="own"').send('of the gateway itself')
      })
      app.get('/own-bearer', (_req, res) => {
        res.status(401).set('WWW-Authenticate', 'Bearer').send('of the gateway itself')
      })
    },
  })
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

describe.each([
  ['undeclared', () => ({})],
  ['declared', () => ({ notes: world.mcpServer.url })],
])('req.mcp.fetch to a server that is %s', (_name, servers) => {
  beforeEach(() => start(servers()))

  it('sends a browser through the sign-in, back to the page, and keeps working', async () => {
    const page = await alice.signIn(`${gateway.url}/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/page`])
    expect(page.text).toContain('alice')
    expect((await alice.open(`${gateway.url}/page`)).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it('gives programs the URL to sign in at', async () => {
    const answer = await alice.fetch(`${gateway.url}/whoami`, { method: 'POST' })
    expect(answer.status).toBe(401)
    const { code, authorizationUrl } = JSON.parse(answer.text) as Record<string, string>
    expect(code).toBe('authorization_required')
    expect((await alice.signIn(authorizationUrl ?? '')).text).toContain('Connected to')
    expect((await alice.fetch(`${gateway.url}/whoami`, { method: 'POST' })).text).toContain('alice')
  })

  it('refreshes and repeats after a 401, so that the handler sees nothing of it', async () => {
    await alice.signIn(`${gateway.url}/page`)
    world.mcpServer.revokeSeen()
    expect((await alice.open(`${gateway.url}/page`)).status).toBe(200)
  })

  it('asks again for a sign-in when the repeated request is rejected as well', async () => {
    await alice.signIn(`${gateway.url}/page`)
    world.mcpServer.rejectAll = true
    expect((await alice.open(`${gateway.url}/page`)).status).toBe(302)
    world.mcpServer.rejectAll = false
    expect((await alice.signIn(`${gateway.url}/page`)).status).toBe(200)
  })

  it('is for signed-in users', async () => {
    const answer = await createPerson().fetch(`${gateway.url}/page`)
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([401, 'user_required'])
  })

  it('sends the token to no other server', async () => {
    await alice.signIn(`${gateway.url}/page`)
    const seen: (string | undefined)[] = []
    const other = createServer((req, res) => {
      seen.push(req.headers.authorization)
      res.end('ok')
    }).listen(0, 'localhost')
    await new Promise((resolve) => other.once('listening', resolve))
    const otherUrl = `http://localhost:${(other.address() as AddressInfo).port}/`
    world.mcpServer.intercept = (_req, res) => {
      res.writeHead(302, { location: otherUrl }).end()
      return true
    }
    expect((await alice.open(`${gateway.url}/page`)).text).toBe('ok')
    expect(seen).toEqual([undefined])
    other.close()
  })
})

describe('a proxied upstream that nobody declared', () => {
  beforeEach(() => start({}))

  it('is served from its challenge, and ends in an error that says what is missing, not in a circle', async () => {
    const page = await alice.signIn(`${gateway.url}/proxied/page`)
    expect(page.status).toBe(502)
    expect(page.text).toContain('token_not_sent')
    expect(page.text).toContain('req.mcp.fetch')
    expect(page.hops.filter(({ url }) => url.includes('/proxied/page'))).toHaveLength(2)
  })

  it.each(['/own-401', '/own-bearer'])('leaves the gateway’s own %s alone', async (path) => {
    const answer = await alice.open(gateway.url + path)
    expect([answer.status, answer.text]).toEqual([401, 'of the gateway itself'])
    expect(answer.headers.get('www-authenticate')).not.toBeNull()
  })
})
