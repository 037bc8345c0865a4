import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Options } from '../../src/index.js'
import { ASM, json, metadataOf, PRM, startFake, type FakeServer } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page, Person } from '../support/person.js'
import { connect, NOTES_PAGE } from '../support/visit.js'

// One of the gateway's MCP servers is an attacker's, and so is its authorization server: they reach for what
// belongs to the other, to which Alice is connected.

let world: World
/** The attacker's MCP server and authorization server. */
let evil: FakeServer
let gateway: DcrGateway
let alice: Person
/** The client that the gateway has registered at the honest authorization server. */
let honestClient: string

beforeEach(async () => {
  world = await startWorld()
  evil = await startFake()
  evil.replies[`${PRM}/mcp`] = json({ resource: `${evil.url}/mcp`, authorization_servers: [evil.url] })
  evil.replies['/mcp/page'] = (res) => res.writeHead(401, { 'www-authenticate': 'Bearer' }).end()
  evil.replies['/register'] = json({ client_id: 'of-evil', token_endpoint_auth_method: 'none' }, 201)
  evil.replies['/token'] = json({ access_token: 'of-evil', token_type: 'Bearer' })
  evilMetadata({})
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

function evilMetadata(changes: Record<string, unknown>): void {
  evil.replies[ASM] = json(metadataOf(evil.url, changes))
}

async function start(options: Options = {}): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url, evil: `${evil.url}/mcp` },
    options: () => options,
  })
  alice = await connect('alice', gateway.url)
  const authorized = world.authorizationServer.requests.find(({ path }) => path === '/auth')
  honestClient = new URL(authorized?.url ?? '', gateway.url).searchParams.get('client_id') ?? ''
  world.authorizationServer.requests.length = 0
}

function expectErrorPage(page: Page, code: string): void {
  expect([page.status, page.headers.get('content-type')]).toEqual([502, 'text/html; charset=utf-8'])
  expect(page.text).toContain(`Error code: ${code}`)
}

/** What belongs to the honest servers has not come to the attacker, and the connection to them works still. */
async function expectNothingGained(): Promise<void> {
  for (const { headers, body, url } of evil.requests)
    expect(`${JSON.stringify(headers)} ${body} ${url}`).not.toMatch(/ey[\w-]+\.|Basic|code=(?!of-evil)/)
  expect(evil.requests.map(({ authorization }) => authorization).filter(Boolean)).toEqual([])
  expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
}

const EVIL_PAGE = '/mcp/evil/page'

describe('an authorization server that names another’s authorization endpoint (mix-up, RFC 9207)', () => {
  it('and claims to have registered the client of that one: the code goes nowhere', async () => {
    await start()
    evilMetadata({ authorization_endpoint: `${world.authorizationServer.issuer}/auth` })
    evil.replies['/register'] = json({ client_id: honestClient, token_endpoint_auth_method: 'none' }, 201)
    const page = await alice.signIn(gateway.url + EVIL_PAGE)
    const callback = page.hops.find(({ url }) => new URL(url).pathname === '/api/oauth/callback')
    expect(new URL(callback?.url ?? '').searchParams.get('code')).toMatch(/./)
    expectErrorPage(page, 'issuer_mismatch')
    expect(evil.count('POST', '/token') + world.authorizationServer.count('POST', '/token')).toBe(0)
    await expectNothingGained()
  })
})

describe('an authorization server that names another’s token endpoint', () => {
  it('has its own code refused there, which comes without that one’s client', async () => {
    await start()
    evilMetadata({ token_endpoint: `${world.authorizationServer.issuer}/token` })
    const { location } = await alice.open(gateway.url + EVIL_PAGE)
    const state = new URL(location ?? '').searchParams.get('state') ?? ''
    const query = new URLSearchParams({ state, code: 'of-evil' })
    expectErrorPage(await alice.follow(`${gateway.url}/api/oauth/callback?${query}`), 'client_invalid')
    const [sent] = world.authorizationServer.requests.filter(({ path }) => path === '/token')
    expect(sent?.authorization).toBeUndefined()
    expect(sent?.form.get('client_id')).toBe('of-evil')
    await expectNothingGained()
  })
})

describe('an authorization server that claims to be another', () => {
  it.each<[string, () => void]>([
    ['by its issuer', () => evilMetadata({ issuer: world.authorizationServer.issuer })],
    [
      'by an issuer that looks the same',
      () => evilMetadata({ issuer: world.authorizationServer.issuer.replace('localhost', 'LOCALHOST') }),
    ],
    ['by its issuer, with a slash', () => evilMetadata({ issuer: `${world.authorizationServer.issuer}/` })],
    [
      'by its issuer twice, of which the last counts',
      () => {
        const text = JSON.stringify(metadataOf(evil.url))
        evil.replies[ASM] = (res) =>
          res.end(`${text.slice(0, -1)},"issuer":${JSON.stringify(world.authorizationServer.issuer)}}`)
      },
    ],
  ])('%s is not believed, and registers nothing', async (_, claim) => {
    await start()
    claim()
    expectErrorPage(await alice.signIn(gateway.url + EVIL_PAGE), 'issuer_mismatch')
    expect(evil.count('POST', '/register')).toBe(0)
    expect(world.authorizationServer.requests).toEqual([])
    await expectNothingGained()
  })
})

describe('an MCP server', () => {
  it.each<[string, () => void, string]>([
    [
      'that names the metadata of another',
      () => {
        const metadata = `${world.mcpServer.origin}/.well-known/oauth-protected-resource/mcp`
        evil.replies['/mcp/page'] = (res) =>
          res.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` }).end()
      },
      'resource_mismatch',
    ],
    [
      'that claims to be another resource',
      () => {
        evil.replies[`${PRM}/mcp`] = json({
          resource: world.mcpServer.resource,
          authorization_servers: [world.authorizationServer.issuer],
        })
      },
      'resource_mismatch',
    ],
  ])('%s gets no token for it', async (_, reach, code) => {
    await start()
    reach()
    expectErrorPage(await alice.signIn(gateway.url + EVIL_PAGE), code)
    expect(world.authorizationServer.requests).toEqual([])
    await expectNothingGained()
  })

  it('that names another’s authorization server gets a token for itself, by a client of its own', async () => {
    evil.replies[`${PRM}/mcp`] = json({
      resource: `${evil.url}/mcp`,
      authorization_servers: [world.authorizationServer.issuer],
    })
    await start()
    const page = await alice.signIn(gateway.url + EVIL_PAGE, {
      until: ({ pathname }) => pathname === '/api/oauth/callback',
    })
    const asked = page.hops.map(({ url }) => new URL(url)).find(({ pathname }) => pathname === '/auth')
    expect(asked?.searchParams.get('resource')).toBe(`${evil.url}/mcp`)
    expect(asked?.searchParams.get('client_id')).not.toBe(honestClient)
    await expectNothingGained()
  })

  it('whose authorization server the trust option does not list leads nowhere', async () => {
    await start({ trust: [world.authorizationServer.issuer] })
    expectErrorPage(await alice.signIn(gateway.url + EVIL_PAGE), 'issuer_not_trusted')
    expect(evil.asked().filter((it) => !it.includes(PRM) && !it.includes('/mcp'))).toEqual([])
    await expectNothingGained()
  })
})

describe('an authorization server whose answers are without measure', () => {
  const DEEP = '['.repeat(400_000) + ']'.repeat(400_000)

  it.each<[string, () => void]>([
    ['metadata of more than a mebibyte', () => evilMetadata({ filler: 'x'.repeat(1024 * 1024) })],
    ['metadata that is nothing but depth', () => void (evil.replies[ASM] = (res) => res.end(DEEP))],
    [
      'a registration with a member without end',
      () =>
        void (evil.replies['/register'] = (res) =>
          res.writeHead(201).end(`{"client_id":"a","redirect_uris":${DEEP}`)),
    ],
  ])('%s is an error, and the gateway goes on', async (_, answer) => {
    await start()
    answer()
    expectErrorPage(await alice.signIn(gateway.url + EVIL_PAGE), '')
    await expectNothingGained()
  })
})
