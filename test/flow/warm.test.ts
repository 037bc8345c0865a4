import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Options } from '../../src/index.js'
import { gate, HANG_UP, SILENCE, startFake, status, type Reply } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld({ mcpServer: { challengeWithScope: true } })
  await start({ notes: world.mcpServer.url })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

async function start(servers: Record<string, string>, options: Options = {}): Promise<void> {
  gateway = await startDcrGateway({
    servers,
    options: () => ({ clock: () => now, ...options }),
    mountServers: Object.keys(servers).includes('notes'),
  })
}

async function restart(...given: Parameters<typeof start>): Promise<void> {
  await gateway.close()
  await start(...given)
}

function person(): Person {
  const alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  return alice
}

const forget = (): void =>
  void (world.authorizationServer.requests.length = world.mcpServer.requests.length = 0)
const asked = (): string[] =>
  [...world.mcpServer.requests, ...world.authorizationServer.requests].map(
    ({ method, path }) => `${method} ${path}`,
  )

describe('dcr.warm()', () => {
  it('discovers and registers, so that the first redirect makes no outgoing call', async () => {
    expect(await gateway.dcr.warm()).toEqual([
      {
        status: 'ready',
        server: 'notes',
        issuer: world.authorizationServer.issuer,
        clientId: (await gateway.dcr.registrations.list())[0]?.clientId,
      },
    ])
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    forget()
    const alice = person()
    const { status, location } = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect([status, location]).toEqual([
      302,
      expect.stringContaining(`${world.authorizationServer.issuer}/auth?`),
    ])
    // The gateway's own handler alone, which was asked for a page.
    expect(asked()).toEqual(['GET /mcp/page'])
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })

  it('does so for a sign-in that begins at the connect URL, too, with the scope of the challenge', async () => {
    await gateway.dcr.warm()
    forget()
    const { location = '' } = await person().open(`${gateway.url}/api/oauth/authorize/notes`)
    expect(new URL(location).searchParams.get('scope')).toContain('mcp:read')
    expect(new URL(location).searchParams.get('scope')).not.toContain('mcp:write')
    expect(asked()).toEqual([])
  })

  it('registers once, however often it is called; called again, it discovers again', async () => {
    await gateway.dcr.warm()
    now += 299_000
    await gateway.dcr.warm()
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    now += 299_000
    forget()
    await person().open(`${gateway.url}/api/oauth/authorize/notes`)
    expect(asked()).toEqual([])
  })

  it('asks the MCP server as a client without a token does', async () => {
    await gateway.dcr.warm()
    const [request, ...more] = world.mcpServer.requests.filter(({ path }) => path === '/mcp')
    expect(more).toEqual([])
    expect(request).toMatchObject({ method: 'POST', authorization: undefined, status: 401 })
    expect(JSON.parse(request?.body ?? '')).toMatchObject({ jsonrpc: '2.0', method: 'initialize' })
    expect(request?.headers.accept).toBe('application/json, text/event-stream')
  })

  it('says so where a server needs no sign-in, and registers nothing', async () => {
    const open = await world.addMcpServer({ requireAuth: false, answerAs: 'event-stream' })
    await restart({ open: open.url })
    expect(await gateway.dcr.warm()).toEqual([{ status: 'no_sign_in_needed', server: 'open' }])
    expect(world.authorizationServer.requests).toEqual([])
  })

  it('ends the session that such a server opens', async () => {
    const open = await world.addMcpServer({ requireAuth: false, sessions: true })
    await restart({ open: open.url })
    expect(await gateway.dcr.warm()).toEqual([{ status: 'no_sign_in_needed', server: 'open' }])
    const [initialize, ended] = open.requests
    expect([initialize?.method, ended?.method, ended?.status]).toEqual(['POST', 'DELETE', 200])
  })

  it('waits for no end of an event stream', async () => {
    const endless = await startFake({
      '/mcp': (res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n'),
    })
    await restart({ endless: `${endless.url}/mcp` })
    expect(await gateway.dcr.warm()).toEqual([{ status: 'no_sign_in_needed', server: 'endless' }])
  })

  it.each<[string, Reply, string]>([
    ['is not there', status(404), 'request_failed'],
    ['is down', status(503), 'request_failed'],
    ['hangs up', HANG_UP, 'request_failed'],
    ['never answers', SILENCE, 'request_timeout'],
    ['redirects', status(307, { location: 'http://localhost:1/' }), 'redirect_refused'],
    [
      'has metadata that is none',
      status(401, { 'www-authenticate': 'Bearer resource_metadata="http://localhost:1/"' }),
      'resource_mismatch',
    ],
  ])('reports a server that %s, and warms the others', async (_name, reply, code) => {
    const bad = await startFake({ '/mcp': reply })
    await restart({ bad: `${bad.url}/mcp`, notes: world.mcpServer.url }, { timeout: 1000 })
    const [first, second] = await gateway.dcr.warm()
    expect(first).toMatchObject({
      status: 'failed',
      server: 'bad',
      code,
      message: expect.any(String),
      fix: expect.any(String),
    })
    expect(second).toMatchObject({ status: 'ready', server: 'notes' })
    expect((await gateway.dcr.connections('alice')).map((it) => [it.state, it.reason])).toEqual([
      ['error', code],
      ['not_connected', undefined],
    ])
  })

  it('reports a registration that is refused', async () => {
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/reg') return false
      res.writeHead(403).end()
      return true
    }
    expect(await gateway.dcr.warm()).toMatchObject([{ status: 'failed', code: 'registration_failed' }])
  })

  it('warms a few at a time, and answers in the order of their declaration', async () => {
    const [four, all] = [gate(), gate()]
    let arrived = 0
    const fakes = await startFake({
      '/mcp': (res) => {
        if (++arrived === 4) four.open()
        void all.opened.then(() => res.writeHead(200).end())
      },
    })
    const names = Array.from({ length: 30 }, (_, i) => `s${i}`)
    await restart(Object.fromEntries(names.map((name) => [name, `${fakes.url}/mcp`])))
    const warmed = gateway.dcr.warm()
    await four.opened
    // A fifth would have been sent before this, which goes there and back.
    await fetch(fakes.url)
    expect(arrived).toBe(4)
    all.open()
    expect((await warmed).map(({ server }) => server)).toEqual(names)
    expect(arrived).toBe(30)
  })

  it.each<[string, Options, RegExp]>([
    ['servers that are a function of the request', { servers: () => ({}) }, /function of the request/],
    ['no base URL', { baseUrl: undefined } as unknown as Options, /baseUrl/],
  ])('is refused for %s', async (_name, options, says) => {
    await restart({ notes: world.mcpServer.url }, options)
    const error = await gateway.dcr.warm().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'invalid_options',
      message: expect.stringMatching(says),
      fix: expect.any(String),
    })
  })
})
