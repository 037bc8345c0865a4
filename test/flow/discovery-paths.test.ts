import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore, type CredentialStore } from '../../src/index.js'
import { HANG_UP, status, type Reply } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, connect, NOTES_PAGE } from '../support/visit.js'

// An MCP server and an issuer that both have a path, of which nothing is known at their roots.

const MCP_PATH = '/tenants/1/mcp'
const PRM = `/.well-known/oauth-protected-resource${MCP_PATH}`
const ASM = '/.well-known/oauth-authorization-server/issuers/one'

let world: World
let gateway: DcrGateway

async function start(): Promise<void> {
  world = await startWorld({
    authorizationServer: { path: '/issuers/one' },
    mcpServer: { path: MCP_PATH, metadataAt: ['path'] },
  })
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    routes: (app) => {
      app.get('/fetched', async (req, res, next) => {
        try {
          res.sendStatus((await req.mcp.fetch(`${world.mcpServer.url}/page`)).status)
        } catch (error) {
          next(error)
        }
      })
    },
  })
}

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const wellKnown = ({ requests }: { requests: readonly { path: string }[] }): string[] =>
  requests.map(({ path }) => path).filter((path) => path.startsWith('/.well-known/'))

describe.each([
  ['a request that is proxied', (): string => NOTES_PAGE],
  ['req.mcp.fetch', (): string => '/fetched'],
  ['the connect URL, before anything was asked', (): string => '/api/oauth/authorize/notes'],
  [
    'dcr.fetch, and the connect URL that it names',
    async (): Promise<string> => {
      const fetched = gateway.dcr.fetch('alice', 'notes')(world.mcpServer.url, { method: 'POST' })
      const error = (await fetched.catch((thrown: unknown) => thrown)) as { authorizationUrl?: string }
      return new URL(error.authorizationUrl ?? '').pathname
    },
  ],
])('a sign-in that begins with %s', (_name, begin) => {
  it.each([
    ['names the metadata', (): string => `Bearer resource_metadata="${world.mcpServer.origin}${PRM}"`],
    ['names none', (): string => 'Bearer'],
  ])(
    'finds what has a path, by the one discovery, where the challenge %s (FIELD-NOTES 30)',
    async (_how, says) => {
      await start()
      world.mcpServer.challenge = says
      const alice = browserOf('alice', gateway.url)
      const page = await alice.signIn(gateway.url + (await begin()))
      expect(page.status).toBe(200)
      expect(wellKnown(world.mcpServer)).toEqual([PRM])
      expect(wellKnown(world.authorizationServer)).toEqual([ASM])
      const [exchange] = world.authorizationServer.requests.filter(({ path }) => path.endsWith('/token'))
      expect(exchange?.form.get('resource')).toBe(world.mcpServer.url)
      expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    },
  )
})

describe('metadata that the challenge alone names', () => {
  const CONNECT = '/api/oauth/authorize/notes'
  let now: number
  let store: CredentialStore

  beforeEach(async () => {
    now = Date.now()
    store = { ...memoryStore({ clock: () => now }), shared: true }
    world = await startWorld()
    const { mcpServer, authorizationServer } = world
    mcpServer.challenge = () => `Bearer resource_metadata="${mcpServer.origin}/metadata"`
    mcpServer.intercept = (_req, res, { path }) => {
      if (path === '/metadata') {
        const document = { resource: mcpServer.url, authorization_servers: [authorizationServer.issuer] }
        res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
        return true
      }
      if (path.startsWith('/.well-known/')) res.writeHead(404).end()
      return path.startsWith('/.well-known/')
    }
    gateway = await startOne()
  })

  const startOne = (baseUrl?: string): Promise<DcrGateway> =>
    startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: (own) => ({
        baseUrl: baseUrl ?? own,
        store,
        clock: () => now,
        encryptionKey: 'one key of 32 characters or more for both',
      }),
    })
  /** What the MCP server was asked without a token. */
  const asked = (): string[] =>
    world.mcpServer.requests
      .filter(({ authorization }) => authorization === undefined)
      .map(({ method, path }) => `${method} ${path}`)

  it('is found by somebody who opens the connect URL, and has met no challenge (SPEC 6)', async () => {
    await fetch(`${gateway.url}/mcp/notes`, { method: 'POST', headers: { 'x-user': 'alice' } })
    const page = await browserOf('bob', gateway.url).signIn(gateway.url + CONNECT, { login: 'bob' })
    expect([page.status, page.text.includes('Connected')]).toEqual([200, true])
  })

  it('is found at another instance than the one that has met the challenge', async () => {
    await fetch(`${gateway.url}/mcp/notes`, { method: 'POST', headers: { 'x-user': 'alice' } })
    const other = await startOne(gateway.url)
    try {
      const alice = browserOf('alice', gateway.url, { hosts: { [gateway.url]: other.url } })
      const page = await alice.signIn(gateway.url + CONNECT)
      expect([page.status, page.text.includes('Connected')]).toEqual([200, true])
    } finally {
      await other.close()
    }
  })

  it('is found by somebody who connects anew, after a restart', async () => {
    await connect('alice', gateway.url)
    await gateway.close()
    gateway = await startOne()
    const page = await browserOf('alice', gateway.url).signIn(gateway.url + CONNECT)
    expect([page.status, page.text.includes('Connected')]).toEqual([200, true])
  })

  it('is asked for once, for everybody who comes at the same time and for five minutes', async () => {
    const open = (): Promise<unknown> => browserOf('x', gateway.url).open(gateway.url + CONNECT)
    await Promise.all(Array.from({ length: 20 }, open))
    now += 299_000
    await open()
    expect(asked()).toEqual(['POST /mcp', 'GET /metadata'])
    now += 1000
    await open()
    expect(asked()).toEqual(['POST /mcp', 'GET /metadata', 'POST /mcp', 'GET /metadata'])
  })
})

it.each<[string, Reply]>([
  ['is down', status(503)],
  ['hangs up', HANG_UP],
  ['asks for no token', status(200)],
])('begins a sign-in at the connect URL by the well-known URLs where the server %s', async (_name, reply) => {
  await start()
  world.mcpServer.intercept = (_req, res, request) => {
    if (request.path !== MCP_PATH) return false
    void reply(res, request)
    return true
  }
  const { status: answered, location } = await browserOf('alice', gateway.url).open(
    `${gateway.url}/api/oauth/authorize/notes`,
  )
  expect([answered, location]).toEqual([
    302,
    expect.stringContaining(new URL(world.authorizationServer.issuer).origin),
  ])
  expect(wellKnown(world.mcpServer)).toEqual([PRM])
})
