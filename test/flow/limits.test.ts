import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore, type CredentialStore } from '../../src/index.js'
import { gate } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { listen, type TestServer } from '../support/server.js'

let world: World
let gateway: DcrGateway
let store: CredentialStore
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  store = memoryStore()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      store,
      encryptionKey: 'a key of more than 32 characters, for tests',
      elicitationWait: 0,
      clock: () => now,
    }),
    mountServers: false,
    routes: (app) =>
      app.use('/mcp/notes', (_req, res) => {
        const metadata = new URL('/.well-known/oauth-protected-resource/mcp', world.mcpServer.url)
        res.status(401).set('www-authenticate', `Bearer resource_metadata="${metadata.href}"`).end()
      }),
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const MCP = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
const CALL = {
  jsonrpc: '2.0',
  method: 'tools/call',
  params: {
    name: 'whoami',
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': { elicitation: { url: {} } },
    },
  },
}

/** Whatever a visitor can think of, each time with other values. */
function requests(n: number): [path: string, init: RequestInit][] {
  const id = randomUUID()
  const post = (body: object, headers = {}): RequestInit => ({
    method: 'POST',
    headers: { ...MCP, ...headers },
    body: JSON.stringify(body),
  })
  return [
    [`/mcp/notes/${id}?q=${n}`, { headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate' } }],
    [`/mcp/notes/${id}`, { headers: { host: `${id}.example`, 'x-forwarded-host': `${id}.example` } }],
    ['/mcp/notes', post({ ...CALL, id }, { 'mcp-session-id': id })],
    ['/mcp/notes', post({ ...CALL, id, params: { ...CALL.params, requestState: `mcp-dcr.${id}` } })],
    [`/api/oauth/authorize/notes?return_to=/${id}`, {}],
    [`/api/oauth/authorize/${id}`, {}],
    [`/api/oauth/callback?state=${id}&code=${id}`, {}],
    ['/api/oauth/connections', {}],
    [`/api/oauth/connections/${id}/refresh`, { method: 'POST', headers: { origin: gateway.url } }],
  ]
}

async function send(visitors: number, userOf: (n: number) => string | undefined): Promise<Set<number>> {
  const seen = new Set<number>()
  for (let n = 0; n < visitors; n++) {
    const user = userOf(n)
    const answers = requests(n).map(async ([path, init]) => {
      const headers = { ...init.headers, ...(user !== undefined && { 'x-user': user }) }
      const answer = await fetch(gateway.url + path, { ...init, headers, redirect: 'manual' })
      await answer.arrayBuffer()
      seen.add(answer.status)
    })
    await Promise.all(answers)
  }
  return seen
}

async function recordsHeld(): Promise<string[]> {
  const held: string[] = []
  for (const collection of ['oauth_client_registrations', 'oauth_tokens', 'leases'])
    for await (const { key } of store.list(collection)) held.push(`${collection} ${key}`)
  return held
}

describe('visitors who never sign in', () => {
  it('cause no outgoing request and no record where they are nobody', async () => {
    expect([...(await send(50, () => undefined))].sort()).toEqual([200, 400, 401])
    expect(world.authorizationServer.requests).toEqual([])
    expect(world.mcpServer.requests).toEqual([])
    expect(await recordsHeld()).toEqual([])
  })

  it('cause one registration and one record, however many users they are, and nothing more', async () => {
    await send(200, (n) => `visitor ${n}`)
    const outgoing = [...world.mcpServer.requests, ...world.authorizationServer.requests]
    expect(outgoing.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /.well-known/oauth-protected-resource/mcp',
      'GET /.well-known/oauth-authorization-server',
      'POST /reg',
    ])
    expect(await recordsHeld()).toHaveLength(1)
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('cause ever fewer registrations at an issuer that does not answer them, and one once it does', async () => {
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/reg') return false
      res.writeHead(504).end()
      return true
    }
    const attempts: number[] = []
    for (const seconds of [0, 1, 1, 1, 4, 8, 600, 3600]) {
      now += seconds * 1000
      await send(3, (n) => `visitor ${n}`)
      attempts.push(world.authorizationServer.count('POST', '/reg'))
    }
    expect(attempts).toEqual([2, 3, 3, 4, 5, 6, 7, 8])
    const told = await fetch(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'visitor' } })
    expect([told.status, await told.json()]).toEqual([
      502,
      expect.objectContaining({
        code: 'registration_failed',
        detail: expect.stringContaining(
          'left 8 registrations unanswered; the next one is tried in 64 seconds',
        ),
      }),
    ])
    world.authorizationServer.intercept = undefined
    now += 64_000
    await send(3, (n) => `visitor ${n}`)
    expect(world.authorizationServer.registrations()).toBe(1)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(9)
  })

  it.each([
    ['refuses them with a 400', 400, {}, [2, 2, 3, 4]],
    ['answers 429 with Retry-After', 429, { 'retry-after': '60' }, [1, 1, 1, 2]],
  ])(
    'cause a few registrations at an issuer that %s, and one once it does not',
    async (_how, status, headers, attempts) => {
      const { authorizationServer } = world
      authorizationServer.intercept = (_req, res, { path }) => {
        if (path !== '/reg') return false
        res.writeHead(status, { 'content-type': 'application/json', ...headers })
        res.end(JSON.stringify({ error: 'invalid_redirect_uri', error_description: 'not from here' }))
        return true
      }
      const made: number[] = []
      for (const seconds of [0, 0, 1, 59]) {
        now += seconds * 1000
        await send(20, (n) => `visitor ${n}`)
        made.push(authorizationServer.count('POST', '/reg'))
      }
      expect(made).toEqual(attempts)
      const told = await fetch(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'visitor' } })
      expect(await told.json()).toMatchObject({
        code: 'invalid_redirect_uri',
        detail: expect.stringMatching(/not from here.*It is tried again in \d+ seconds/) as string,
      })
      authorizationServer.intercept = undefined
      now += 600_000
      await send(20, (n) => `visitor ${n}`)
      expect(authorizationServer.registrations()).toBe(1)
    },
  )
})

/** An MCP server of this test alone, which names other metadata at each path. */
describe('at an MCP server that is hostile, a visitor causes', () => {
  let hostile: TestServer
  let front: DcrGateway

  beforeEach(async () => {
    hostile = await listen()
    front = await startDcrGateway({
      servers: { notes: hostile.url },
      options: () => ({ elicitationWait: 0, clock: () => now }),
    })
  })

  afterEach(async () => {
    await front.close()
    await hostile.close()
  })

  const PRM = '/.well-known/oauth-protected-resource'

  /** A 401 that repeats the path in the metadata URL. */
  function challenge(res: ServerResponse, path: string): void {
    res.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${hostile.url}${PRM}${path}"` }).end()
  }

  async function visit(path: string): Promise<{ status: number; body: string }> {
    const answer = await fetch(`${front.url}/mcp/notes${path}`, { headers: { 'x-user': 'visitor' } })
    return { status: answer.status, body: await answer.text() }
  }

  it('registrations at five issuers, however many it names', async () => {
    let named = 0
    hostile.intercept = (req, res, { path, method }) => {
      const { url } = hostile
      const json = (body: object, status = 200): void =>
        void res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (method === 'POST' && path.endsWith('/register')) json({ client_id: path }, 201)
      else if (path.startsWith(PRM))
        json({ resource: url, authorization_servers: [`${url}/${path.split('/').at(-1)}`] })
      else if (path.includes('/.well-known/')) {
        const issuer = `${url}/${path.split('/').at(-1)}`
        const endpoints = ['authorization', 'token', 'registration'].map((it) => [
          `${it}_endpoint`,
          `${issuer}/${it === 'registration' ? 'register' : it}`,
        ])
        json({
          issuer,
          ...Object.fromEntries(endpoints),
          code_challenge_methods_supported: ['S256'],
          token_endpoint_auth_methods_supported: ['none'],
        })
      } else challenge(res, `/issuer${++named}`)
      return true
    }
    const bodies: string[] = []
    for (let n = 0; n < 20; n++) bodies.push((await visit('')).body)
    expect(hostile.count('POST', /register/)).toBe(5)
    expect(bodies.at(-1)).toContain('has named 5 authorization servers within an hour')
    expect(await front.dcr.registrations.list()).toHaveLength(5)
    now += 60 * 60_000
    await visit('')
    expect(hostile.count('POST', /register/)).toBe(6)
  })

  it('four discoveries at the same time, whatever the paths are; of 300, most are told to try again', async () => {
    const held: ServerResponse[] = []
    let isHeld = true
    hostile.intercept = (_req, res, { path }) => {
      if (!path.startsWith(PRM)) challenge(res, path)
      else if (isHeld) held.push(res)
      else res.writeHead(404).end()
      return true
    }
    const refused = gate()
    let count = 0
    const visits = Array.from({ length: 300 }, async (_, n) => {
      const { body } = await visit(`/${n}`)
      if (body.includes('Too many discoveries') && ++count === 276) refused.open()
    })
    await refused.opened
    expect(hostile.count('GET', /oauth-protected-resource/)).toBe(4)
    isHeld = false
    held.forEach((res) => res.writeHead(404).end())
    await Promise.all(visits)
    expect(count).toBe(276)
  })
})
