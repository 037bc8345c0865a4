import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { decodeJwt } from 'jose'
import type { Configuration } from 'oidc-provider'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Page, type Person } from '../support/person.js'
import { browserOf, connect, tokenRequests } from '../support/visit.js'

const EVER_MORE = [1, 2, 3, 4, 5].map((n) => `more:${n}`)
const SCOPES = [
  'mcp:read',
  'mcp:write',
  'mcp:admin',
  'mcp:withheld',
  ...[1, 2, 3, 4, 5].map((n) => `more:${n}`),
]
const CONNECT = '/api/oauth/authorize/notes'

let world: World
let gateway: DcrGateway
let directory: string
let alice: Person
let now: number
/** The scopes that a page of the MCP server needs beside `mcp:read`, by its path at the gateway; more than one: in turn. */
let needed: Record<string, string[]>

beforeEach(async () => {
  now = Date.now()
  needed = {}
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld({
    authorizationServer: { scopes: SCOPES, configure: withhold },
    mcpServer: {
      scopesSupported: ['mcp:read'],
      toolScopes: { add: ['mcp:write'], count: ['mcp:withheld'] },
    },
  })
  world.mcpServer.intercept = (_req, res, { path, authorization }) => {
    const scope = missing(path, authorization)
    if (scope === undefined) return false
    const challenge = `Bearer error="insufficient_scope", scope="${scope}"`
    res.writeHead(403, { 'www-authenticate': challenge, 'x-upstream': 'yes' }).end(`needs ${scope}`)
    return true
  }
  await start()
  alice = await connect('alice', gateway.url)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    directory,
    options: () => ({ clock: () => now }),
    ...(port !== undefined && { port }),
    routes: (app) => {
      app.post('/call/:tool', async (req, res, next) => {
        try {
          res.send(await callTool(req.mcp.fetch, String(req.params['tool'])))
        } catch (error) {
          next(error)
        }
      })
    },
  })
}
let port: number | undefined

async function restart(): Promise<void> {
  ;({ port } = gateway)
  await gateway.close()
  await start()
  port = undefined
}

/** An authorization server that lets everything be asked for, and grants no `mcp:withheld`. */
function withhold({ features = {} }: Configuration): void {
  const { resourceIndicators = {} } = features
  const { getResourceServerInfo } = resourceIndicators
  resourceIndicators.getResourceServerInfo = async (...args) => {
    const info = await getResourceServerInfo?.(...args)
    const scope = SCOPES.filter((it) => it !== 'mcp:withheld').join(' ')
    return { accessTokenFormat: 'jwt', ...info, scope }
  }
}

function missing(path: string, authorization = ''): string | undefined {
  const [scope, ...more] = needed[path] ?? []
  if (scope === undefined || !authorization.startsWith('Bearer ')) return undefined
  if (
    !String(decodeJwt(authorization.slice(7))['scope'])
      .split(' ')
      .includes(scope)
  )
    return scope
  // What it is given is never enough, where more is to come.
  if (more.length === 0) return undefined
  needed[path] = more
  return more[0]
}

const PAGE = '/mcp/page'
const at = (path = PAGE): string => `${gateway.url}/mcp/notes${path.slice('/mcp'.length)}`
const toCallback = (url: URL): boolean => url.pathname === '/api/oauth/callback'

/** Opens a page, goes wherever that leads, and comes back to the gateway. Undefined where it led nowhere. */
async function stepUp(
  url = at(),
  decision: 'allow' | 'deny' = 'allow',
  person = alice,
): Promise<Page | undefined> {
  const { location } = await person.signIn(url, { decision, until: toCallback })
  return location === undefined ? undefined : person.open(location)
}

/** The scopes of every authorization request since the first sign-in. */
function asked(): string[][] {
  return world.authorizationServer.requests
    .filter(({ path }) => path === '/auth')
    .slice(1)
    .map(({ url }) => new URL(url, 'http://as').searchParams.get('scope')?.split(' ').sort() ?? [])
}

const state = async (): Promise<unknown> => (await gateway.dcr.connections('alice'))[0]?.state

function expectUntouched(page: Page, scope: string): void {
  expect([page.status, page.text, page.headers.get('x-upstream')]).toEqual([403, `needs ${scope}`, 'yes'])
  expect(page.headers.get('www-authenticate')).toBe(`Bearer error="insufficient_scope", scope="${scope}"`)
}

async function callTool(
  fetch: typeof globalThis.fetch,
  name: string,
  url = world.mcpServer.url,
): Promise<string> {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { fetch }))
  try {
    const { content } = await client.callTool({ name, arguments: { a: 1, b: 2, to: 1 } })
    return (content as { text: string }[])[0]?.text ?? ''
  } finally {
    await client.close()
  }
}

const AUTHORIZATION_REQUIRED = { code: 'authorization_required' }

describe('a 403 that asks for more scope', () => {
  it('leads to a new authorization for the union of what was asked for and what is challenged (SPEC 3, 37, 39)', async () => {
    needed[PAGE] = ['mcp:write']
    const page = await alice.signIn(at())
    expect([page.status, page.url]).toEqual([200, at()])
    expect(asked()).toEqual([['mcp:read', 'mcp:write', 'offline_access']])
    expect(tokenRequests(world.authorizationServer, 'refresh_token')).toEqual([])
    const [connection] = await gateway.dcr.connections('alice')
    expect(connection?.scope?.split(' ')).toEqual(expect.arrayContaining(['mcp:read', 'mcp:write']))
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it('leaves other operations and other users as they are meanwhile, with the present token', async () => {
    const bob = await connect('bob', gateway.url)
    needed[PAGE] = ['mcp:write']
    const before = world.mcpServer.requests.at(-1)?.authorization
    expect((await alice.open(at())).status).toBe(302)
    expect((await bob.open(at('/mcp/sse/none'))).status).toBe(404)
    expect(world.mcpServer.requests.at(-1)?.authorization).toBe(before)
    const tool = await alice.fetch(`${gateway.url}/call/whoami`, { method: 'POST' })
    expect([tool.status, tool.text]).toEqual([200, 'alice'])
    expect(await state()).toBe('connected')
  })

  it.each([
    ['the provider refuses the request', (url: URL) => url.searchParams.set('error', 'invalid_scope')],
    ['the code is refused', (url: URL) => url.searchParams.set('code', 'of-nobody')],
  ])('keeps the connection where %s', async (_name, meddle) => {
    needed[PAGE] = ['mcp:write']
    const { location = '' } = await alice.signIn(at(), { until: toCallback })
    const url = new URL(location)
    meddle(url)
    expect((await alice.open(url)).status).toBe(502)
    expect(await callTool(gateway.dcr.fetch('alice', 'notes'), 'whoami')).toBe('alice')
    // Nor is that a denial.
    expect((await alice.open(at())).status).toBe(302)
  })

  it.each([
    ['nothing', undefined],
    ['another error', 'Bearer error="invalid_token", scope="mcp:write"'],
    ['no scope', 'Bearer error="insufficient_scope"'],
    ['what the token has', 'Bearer error="insufficient_scope", scope="mcp:read"'],
    ['another scheme', 'Basic error="insufficient_scope", scope="mcp:write"'],
  ])('is left alone where it says %s', async (_name, challenge) => {
    world.mcpServer.intercept = (_req, res) => {
      if (challenge !== undefined) res.setHeader('www-authenticate', challenge)
      res.writeHead(403).end('the upstream’s own')
      return true
    }
    const page = await alice.open(at())
    expect([page.status, page.text]).toEqual([403, 'the upstream’s own'])
    expect(page.headers.get('www-authenticate')).toBe(challenge ?? null)
    const answer = await gateway.dcr.fetch('alice', 'notes')(world.mcpServer.url)
    expect([answer.status, await answer.text()]).toEqual([403, 'the upstream’s own'])
  })
})

it('a 403 for a scope that was granted without being asked for is left alone', async () => {
  world.authorizationServer.intercept = (_req, res, { path }) => {
    if (path !== '/token') return false
    const end = res.end.bind(res)
    res.end = ((body: string) => {
      const changed = JSON.stringify({ ...JSON.parse(body), scope: 'mcp:read mcp:extra' })
      return end(res.setHeader('content-length', changed.length) && changed)
    }) as typeof res.end
    return false
  }
  const bob = await connect('bob', gateway.url)
  needed[PAGE] = ['mcp:extra']
  expectUntouched(await bob.open(at()), 'mcp:extra')
})

it('a 403 says that the token itself is good: one that is revoked later leads to a sign-in, not to an error', async () => {
  const bob = browserOf('bob', gateway.url)
  await bob.signIn(gateway.url + CONNECT, { login: 'bob' })
  needed[PAGE] = ['mcp:write']
  expect((await bob.open(at())).status).toBe(302)
  needed = {}
  world.mcpServer.rejectAll = true
  const repeat = await bob.open(at())
  expect(repeat.status).toBe(307)
  expect(await bob.open(repeat.location ?? '')).toMatchObject({
    status: 302,
    location: expect.stringContaining(world.authorizationServer.issuer),
  })
})

it('a sign-in for a part of what is wanted by now leaves the rest to the next one', async () => {
  needed[PAGE] = ['mcp:write']
  needed['/mcp/both'] = ['mcp:write mcp:admin']
  const { location = '' } = await alice.signIn(at(), { until: toCallback })
  expect((await alice.open(at('/mcp/both'))).status).toBe(302)
  expect((await alice.open(location)).status).toBe(303)
  expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
  expect(asked().at(-1)).toEqual(['mcp:admin', 'mcp:read', 'mcp:write', 'offline_access'])
})

describe('a server that never has enough', () => {
  async function exhaust(): Promise<void> {
    for (let tries = 0; tries < 3; tries++) expect(await stepUp()).toMatchObject({ status: 303 })
  }

  it('has three authorizations for one operation, then its 403 is the caller’s (SPEC 40, FIELD-NOTES 18)', async () => {
    needed[PAGE] = [...EVER_MORE]
    await exhaust()
    expectUntouched(await alice.follow(at()), 'more:4')
    expectUntouched(await alice.follow(at()), 'more:4')
    expect(asked()).toHaveLength(3)
    expect(asked()[2]).toEqual(['mcp:read', 'more:1', 'more:2', 'more:3', 'offline_access'])
  })

  it('has them for each operation and each user', async () => {
    const bob = await connect('bob', gateway.url)
    needed[PAGE] = [...EVER_MORE]
    await exhaust()
    needed['/mcp/other'] = ['mcp:write']
    expect((await alice.open(at('/mcp/other'))).status).toBe(302)
    expect((await bob.open(at())).status).toBe(302)
    expectUntouched(await alice.open(at()), 'more:4')
  })

  it('has three that were begun: whoever connects after that does so of their own accord', async () => {
    needed[PAGE] = ['mcp:write']
    for (let tries = 0; tries < 3; tries++) expect((await alice.open(at())).status).toBe(302)
    expectUntouched(await alice.open(at()), 'mcp:write')
    expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    expect(asked().at(-1)).toEqual(['mcp:read', 'offline_access'])
  })

  it('has them again once the operation has succeeded', async () => {
    needed[PAGE] = ['more:1', 'more:2', 'more:3']
    await exhaust()
    needed['/mcp/other'] = []
    await alice.open(at('/mcp/other'))
    needed[PAGE] = ['mcp:write']
    expectUntouched(await alice.open(at()), 'mcp:write')
    needed[PAGE] = []
    expect((await alice.open(at())).status).toBe(200)
    needed[PAGE] = ['mcp:write']
    expect((await alice.open(at())).status).toBe(302)
  })

  it('has them again after an hour', async () => {
    needed[PAGE] = [...EVER_MORE]
    await exhaust()
    now += 3_599_000
    expectUntouched(await alice.open(at()), 'more:4')
    now += 1_000
    expect((await alice.open(at())).status).toBe(302)
  })

  it('has them for all that is posted where the message is not known, whatever succeeds of it', async () => {
    let next = 0
    world.mcpServer.intercept = (_req, res, { body }) => {
      if (!body.startsWith('not JSON')) return false
      if (body.endsWith('no more')) res.writeHead(200).end()
      else {
        const challenge = `Bearer error="insufficient_scope", scope="${EVER_MORE[next++]}"`
        res.writeHead(403, { 'www-authenticate': challenge }).end('more')
      }
      return true
    }
    const post = async (body: string): Promise<number> =>
      (await alice.fetch(at('/mcp'), { method: 'POST', body })).status
    for (let tries = 0; tries < 3; tries++) {
      expect(await post('not JSON')).toBe(401)
      expect(await post('not JSON, no more')).toBe(200)
      expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    }
    expect(await post('not JSON')).toBe(403)
  })
})

describe('a denial', () => {
  beforeEach(async () => {
    needed[PAGE] = ['mcp:write']
    expect(await stepUp(at(), 'deny')).toMatchObject({ status: 403 })
  })

  it('is remembered: the 403 is the caller’s, and the connection stays (SPEC 40)', async () => {
    expectUntouched(await alice.follow(at()), 'mcp:write')
    now += 24 * 3_600_000
    expectUntouched(await alice.follow(at()), 'mcp:write')
    expect([asked().length, await state()]).toEqual([1, 'connected'])
  })

  it('is remembered through a refresh and a restart', async () => {
    now += 7_200_000
    await restart()
    expectUntouched(await alice.follow(at()), 'mcp:write')
    expect(tokenRequests(world.authorizationServer, 'refresh_token')).toHaveLength(1)
  })

  it('holds for whatever needs that scope, and for nothing else', async () => {
    needed['/mcp/both'] = ['mcp:write mcp:admin']
    needed['/mcp/other'] = ['mcp:admin']
    expectUntouched(await alice.open(at('/mcp/both')), 'mcp:write mcp:admin')
    expect(await stepUp(at('/mcp/other'))).toMatchObject({ status: 303 })
    // That was another question: the answer to the first one stands.
    expectUntouched(await alice.open(at()), 'mcp:write')
  })

  it('of two scopes together is none of one of them', async () => {
    needed['/mcp/both'] = ['mcp:admin more:1']
    needed['/mcp/other'] = ['mcp:admin']
    expect(await stepUp(at('/mcp/both'), 'deny')).toMatchObject({ status: 403 })
    expectUntouched(await alice.open(at('/mcp/both')), 'mcp:admin more:1')
    expectUntouched(await alice.open(at()), 'mcp:write')
    expect((await alice.open(at('/mcp/other'))).status).toBe(302)
  })

  it('is one person’s', async () => {
    const bob = browserOf('bob', gateway.url)
    needed[PAGE] = []
    await bob.signIn(at(), { login: 'bob' })
    needed[PAGE] = ['mcp:write']
    expect((await bob.open(at())).status).toBe(302)
  })

  it('ends where the person connects anew and allows it: from the page that said so, or the connections page', async () => {
    expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    expect(asked().at(-1)).toEqual(['mcp:read', 'mcp:write', 'offline_access'])
    expect((await alice.open(at())).status).toBe(200)
    needed['/mcp/both'] = ['mcp:write mcp:admin']
    expect((await alice.open(at('/mcp/both'))).status).toBe(302)
  })

  it('ends where they connect anew after a step-up to something else', async () => {
    needed['/mcp/other'] = ['mcp:admin']
    expect(await stepUp(at('/mcp/other'))).toMatchObject({ status: 303 })
    expectUntouched(await alice.open(at()), 'mcp:write')
    expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    expect((await alice.open(at())).status).toBe(302)
  })

  it('ends where they connect anew without being asked: the next 403 asks', async () => {
    await restart()
    // What a 403 has asked for is forgotten after an hour.
    now += 3600_000
    expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    expect(asked().at(-1)).toEqual(['mcp:read', 'offline_access'])
    expect(await stepUp(at())).toMatchObject({ status: 303 })
    expect((await alice.open(at())).status).toBe(200)
  })

  it('of the gateway’s sign-in itself is no denial of a scope', async () => {
    needed[PAGE] = []
    const bob = browserOf('bob', gateway.url)
    expect(await stepUp(at(), 'deny', bob)).toMatchObject({ status: 403 })
    expect((await bob.signIn(at(), { login: 'bob' })).status).toBe(200)
  })
})

it('a grant without what was asked for is a denial too: it is not asked for again (SPEC 40)', async () => {
  needed[PAGE] = ['mcp:withheld']
  expect(await stepUp()).toMatchObject({ status: 303 })
  expectUntouched(await alice.follow(at()), 'mcp:withheld')
  expect([asked().length, await state()]).toEqual([1, 'connected'])
})

it('a sign-in after the connection is gone asks for what everybody is asked for, not for the rest of a step-up', async () => {
  needed[PAGE] = ['mcp:write']
  expect((await alice.open(at())).status).toBe(302)
  await gateway.dcr.disconnect('alice', 'notes')
  for (let times = 0; times < 3; times++) await alice.open(gateway.url + CONNECT)
  expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
  expect(asked().at(-1)).toEqual(['mcp:read', 'offline_access'])
  // Nor is it a try of that.
  expect((await alice.open(at())).status).toBe(302)
})

/** An MCP client of the gateway, which proxies to the MCP server. */
async function callThroughProxy(tool: string): Promise<string> {
  const asAlice: typeof fetch = (url, init = {}) => {
    const headers = new Headers(init.headers)
    headers.set('x-user', 'alice')
    return fetch(url, { ...init, headers })
  }
  const text = await callTool(asAlice, tool, at('/mcp'))
  const authorizationUrl = gateway.url + CONNECT
  if (text.includes('wants the scope')) throw new Error(text)
  if (text.includes(authorizationUrl))
    throw Object.assign(new Error(text), AUTHORIZATION_REQUIRED, { authorizationUrl })
  return text
}

it('an MCP client learns in words what was not given, never by the upstream’s challenge', async () => {
  const call = (method: string, tool: string): Promise<Response> =>
    fetch(at('/mcp'), {
      method: 'POST',
      headers: {
        'x-user': 'alice',
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 7,
        method,
        params: { name: tool, arguments: { a: 1, b: 2 } },
      }),
    })
  await (await call('tools/call', 'add')).text()
  expect(await stepUp(gateway.url + CONNECT, 'deny')).toMatchObject({ status: 403 })
  const answer = await call('tools/call', 'add')
  expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([200, null])
  expect(await answer.json()).toMatchObject({
    id: 7,
    result: {
      isError: true,
      content: [{ text: expect.stringContaining(`mcp:write`) as string }],
      _meta: {
        'mcp-dcr/error': { code: 'insufficient_scope', fix: expect.stringContaining(CONNECT) as string },
      },
    },
  })
})

it('a second gateway on the store leads into the step-up that the first one has met, and counts its tries', async () => {
  const store = { ...memoryStore(), shared: true }
  const encryptionKey = 'a key of more than 32 characters, for tests'
  const gateways = await Promise.all(
    [1, 2].map(() =>
      startDcrGateway({
        servers: { notes: world.mcpServer.url },
        options: () => ({ baseUrl: gateway.url, store, encryptionKey, clock: () => now }),
      }),
    ),
  )
  const [first, second] = gateways as [DcrGateway, DcrGateway]
  const hosts = { [gateway.url]: second.url }
  const person = createPerson({ hosts })
  person.setCookie(gateway.url, 'user=alice; Path=/')
  await person.signIn(gateway.url + CONNECT)
  const ask = (): Promise<Response> =>
    fetch(`${first.url}/mcp/notes/page`, { headers: { 'x-user': 'alice' } })
  for (const scope of ['more:1', 'more:2', 'more:3']) {
    needed[PAGE] = [scope]
    now += 1000
    expect((await ask()).status).toBe(401)
    const { location = '' } = await person.open(gateway.url + CONNECT)
    expect(new URL(location).searchParams.get('scope')).toContain(scope)
    expect((await person.signIn(location)).status).toBe(200)
  }
  needed[PAGE] = ['more:4']
  now += 1000
  expect((await ask()).status).toBe(403)
  await Promise.all(gateways.map((it) => it.close()))
})

describe.each([
  ['a proxy', callThroughProxy],
  ['dcr.fetch', (tool: string): Promise<unknown> => callTool(gateway.dcr.fetch('alice', 'notes'), tool)],
  [
    'req.mcp.fetch',
    async (tool: string): Promise<unknown> => {
      const { status, text } = await alice.fetch(`${gateway.url}/call/${tool}`, { method: 'POST' })
      if (status !== 200) throw status === 401 ? JSON.parse(text) : new Error(text)
      return text
    },
  ],
])('%s', (_name, call) => {
  it('leads by the connect URL to the union of scopes, and then succeeds', async () => {
    await expect(call('add')).rejects.toMatchObject({
      ...AUTHORIZATION_REQUIRED,
      authorizationUrl: gateway.url + CONNECT,
    })
    expect(await call('whoami')).toBe('alice')
    expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    expect(asked()).toEqual([['mcp:read', 'mcp:write', 'offline_access']])
    expect(await call('add')).toBe('3')
  })

  it.each([
    ['is denied', 'add', 'deny', 403],
    ['is not granted', 'count', 'allow', 303],
  ] as const)('is led no further where it %s', async (_how, tool, decision, status) => {
    await expect(call(tool)).rejects.toMatchObject(AUTHORIZATION_REQUIRED)
    expect(await stepUp(gateway.url + CONNECT, decision)).toMatchObject({ status })
    const error: unknown = await call(tool).catch((thrown: unknown) => thrown)
    expect(error).not.toMatchObject(AUTHORIZATION_REQUIRED)
    expect(await call('whoami')).toBe('alice')
    expect(asked()).toHaveLength(1)
  })

  it('is led three times by one tool that never has enough, until it succeeds; others have their own', async () => {
    let next = 0
    const neverEnough: World['mcpServer']['intercept'] = (_req, res, { body }) => {
      if (!body.includes('"whoami"')) return false
      const challenge = `Bearer error="insufficient_scope", scope="${EVER_MORE[next]}"`
      res.writeHead(403, { 'www-authenticate': challenge }).end('still more')
      return true
    }
    world.mcpServer.intercept = neverEnough
    for (; next < 3; next++) {
      // With `initialize` and the like, which succeed.
      await expect(call('whoami')).rejects.toMatchObject(AUTHORIZATION_REQUIRED)
      expect(await stepUp(gateway.url + CONNECT)).toMatchObject({ status: 303 })
    }
    await expect(call('whoami')).rejects.toThrow(/still more|wants the scope more:4/)
    expect(asked()).toHaveLength(3)
    await expect(call('add')).rejects.toMatchObject(AUTHORIZATION_REQUIRED)

    world.mcpServer.intercept = undefined
    expect(await call('whoami')).toBe('alice')
    world.mcpServer.intercept = neverEnough
    await expect(call('whoami')).rejects.toMatchObject(AUTHORIZATION_REQUIRED)
  })
})
