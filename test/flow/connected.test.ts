import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gate } from '../store/support.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { refusalOf } from '../support/refusal.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let alice: Person
let now: number

async function start(options: Parameters<typeof startWorld>[0] = {}): Promise<void> {
  now = Date.now()
  world = await startWorld(options)
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
}

beforeEach(() => start({ authorizationServer: { accessTokenLifetime: 300 } }))

afterEach(async () => {
  await gateway.close()
  await world.close()
})

function connect(person = alice): Promise<{ status: number; text: string }> {
  return person.signIn(`${gateway.url}/mcp/notes/page`)
}

/** What the upstream saw of the last request to a path. */
function lastSeen(path: RegExp): { authorization: string | undefined } {
  const seen = world.mcpServer.requests.filter((request) => path.test(request.path)).at(-1)
  if (seen === undefined) throw new Error('the upstream saw no such request')
  return seen
}

const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
})

function post(user: string, headers: Record<string, string> = {}, path = '/mcp/notes'): Promise<Response> {
  return fetch(gateway.url + path, {
    method: 'POST',
    body: INITIALIZE,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'x-user': user,
      ...headers,
    },
  })
}

describe('a connected user', () => {
  it('lists and calls tools with the official SDK through the gateway', async () => {
    await connect()
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp/notes`), {
        requestInit: { headers: { 'x-user': 'alice' } },
      }),
    )
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('whoami')
    const result = await client.callTool({ name: 'whoami', arguments: {} })
    expect(JSON.stringify(result.content)).toContain('alice')
    await client.close()
  })

  it('leaves a proxy’s handlers the time to change the head of what they send', async () => {
    const proxied = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      mountServers: false,
      routes: (app) =>
        app.use(
          '/mcp/notes',
          createProxyMiddleware({
            target: world.mcpServer.url,
            changeOrigin: true,
            // Called once the proxy's own request has its socket: too late, where its body has begun by then.
            on: { proxyReq: (upstream) => upstream.removeHeader('x-user') },
          }),
        ),
    })
    alice.setCookie(proxied.url, 'user=alice; Path=/')
    await alice.signIn(`${proxied.url}/mcp/notes/page`)
    for (const body of [INITIALIZE, INITIALIZE.replace('"1"', '"2"')]) {
      const answer = await fetch(`${proxied.url}/mcp/notes`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'x-user': 'alice',
        },
        body,
      })
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('protocolVersion')])
    }
    const posted = world.mcpServer.requests.filter(({ method }) => method === 'POST')
    expect(posted.map(({ headers }) => headers['x-user'])).toEqual([undefined, undefined])
    await proxied.close()
  })

  it('never lends the token to another user, nor to nobody', async () => {
    await connect()
    const bob = await post('bob')
    expect(await refusalOf(bob)).toMatchObject({
      code: 'authorization_required',
      authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
    })
    expect(lastSeen(/^\/mcp\/?$/).authorization).toBeUndefined()
    const nobody = await fetch(`${gateway.url}/mcp/notes`, { method: 'POST', body: INITIALIZE })
    expect(nobody.status).toBe(401)
    expect(await nobody.json()).toMatchObject({ code: 'user_required' })
  })

  it('never passes the client’s own Authorization on (SPEC 35)', async () => {
    await post('bob', { authorization: 'Bearer of-the-client' })
    expect(lastSeen(/^\/mcp\/?$/).authorization).toBeUndefined()
    await connect()
    await post('alice', { authorization: 'Bearer of-the-client' })
    expect(lastSeen(/^\/mcp\/?$/).authorization).toMatch(/^Bearer ey/)
  })

  it.each(['/MCP/notes', '/mcp/NOTES/', '/Mcp/Notes?x=1'])(
    'is served at %s too, since Express’ routes ignore case',
    async (path) => {
      await connect()
      expect((await post('alice', { authorization: 'Bearer of-the-client' }, path)).status).toBe(200)
      expect(lastSeen(/^\/mcp\/?$/).authorization).toMatch(/^Bearer ey/)
    },
  )

  it('refreshes 60 seconds before expiry and not before', async () => {
    await connect()
    const first = lastSeen(/page/).authorization
    now += 239_000
    expect((await post('alice')).status).toBe(200)
    expect(lastSeen(/^\/mcp\/?$/).authorization).toBe(first)
    now += 2_000
    expect((await post('alice')).status).toBe(200)
    expect(lastSeen(/^\/mcp\/?$/).authorization).not.toBe(first)
    expect(world.authorizationServer.count('POST', '/token')).toBe(2)
  })

  it('makes one refresh of 100 concurrent requests with an expired token, and all succeed (FIELD-NOTES 6)', async () => {
    await connect()
    now += 3_600_000
    const before = world.authorizationServer.count('POST', '/token')
    const answers = await Promise.all(Array.from({ length: 100 }, () => post('alice')))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(world.authorizationServer.count('POST', '/token') - before).toBe(1)
    now += 3_600_000
    expect((await post('alice')).status).toBe(200)
  })

  it('sends the resource in authorize, token and refresh requests (RFC 8707)', async () => {
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(new URL(page.location ?? '').searchParams.get('resource')).toBe(world.mcpServer.resource)
    await connect()
    now += 3_600_000
    await post('alice')
    const tokenRequests = world.authorizationServer.requests.filter(({ path }) => path === '/token')
    expect(tokenRequests.map(({ form }) => [form?.get('grant_type'), form?.get('resource')])).toEqual([
      ['authorization_code', world.mcpServer.resource],
      ['refresh_token', world.mcpServer.resource],
    ])
  })
})

describe('a 401 on a token that was sent (SPEC 5)', () => {
  it('refreshes and has the client repeat its request with a 307, once', async () => {
    await connect()
    world.mcpServer.revokeSeen()
    const answer = await fetch(`${gateway.url}/mcp/notes`, {
      method: 'POST',
      body: INITIALIZE,
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'x-user': 'alice',
      },
    })
    expect([answer.status, answer.headers.get('location')]).toEqual([307, '/mcp/notes'])
    expect((await post('alice')).status).toBe(200)
  })

  it('is invisible to a client that follows redirects', async () => {
    await connect()
    world.mcpServer.revokeSeen()
    expect((await post('alice')).status).toBe(200)
  })

  it('asks for a sign-in when the refreshed token is rejected too', async () => {
    await connect()
    world.mcpServer.rejectAll = true
    const answer = await post('alice')
    expect(await refusalOf(answer)).toMatchObject({ code: 'authorization_required' })
    expect(
      world.authorizationServer.requests.filter(({ form }) => form?.get('grant_type') === 'refresh_token'),
    ).toHaveLength(1)
    world.mcpServer.rejectAll = false
    expect((await connect()).status).toBe(200)
  })

  it('ends in an error page, not in a circle of redirects, where even a new token is rejected', async () => {
    world.mcpServer.rejectAll = true
    const page = await connect()
    expect(page.status).toBe(502)
    expect(page.text).toContain('token_rejected')
  })
})

describe('refresh failures (SPEC 38)', () => {
  it('asks a failing authorization server once for all who wait, and tells each of them', async () => {
    await connect()
    now += 3_600_000
    const before = world.authorizationServer.count('POST', '/token')
    const allAreHere = gate()
    gateway.requests.length = 0
    gateway.intercept = () => {
      if (gateway.requests.length === 20) allAreHere.open()
      return false
    }
    world.authorizationServer.intercept = async (_req, res, { path }) => {
      if (path !== '/token') return false
      await allAreHere.opened
      res.writeHead(503).end()
      return true
    }
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('alice')))
    for (const answer of answers) expect(await refusalOf(answer)).toMatchObject({ code: 'refresh_failed' })
    expect(world.authorizationServer.count('POST', '/token') - before).toBe(1)
    world.authorizationServer.intercept = undefined
    expect((await post('alice')).status).toBe(200)
  })

  it('keeps the connection through a 503 and goes on afterwards', async () => {
    await connect()
    now += 3_600_000
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token') return false
      res.writeHead(503).end('down')
      return true
    }
    expect(await refusalOf(await post('alice'))).toMatchObject({ code: 'refresh_failed' })
    delete (world.authorizationServer as { intercept?: unknown }).intercept
    expect((await post('alice')).status).toBe(200)
  })

  it('asks for a sign-in after invalid_grant', async () => {
    await connect()
    now += 3_600_000
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token') return false
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
      return true
    }
    expect(await refusalOf(await post('alice'))).toMatchObject({ code: 'authorization_required' })
    const [state] = await gateway.dcr.connections('alice')
    expect(state).toMatchObject({ state: 'needs_authorization', reason: 'refresh_refused' })
  })
})
