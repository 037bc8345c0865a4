import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page, Person } from '../support/person.js'
import type { Intercept } from '../support/server.js'
import { browserOf } from '../support/visit.js'

// Every string that a server supplies, where it comes up in the gateway's pages and answers.

const SCRIPT = `"><img src=x onerror=alert(1)>'</script><script>alert(1)</script>`

let world: World
let gateway: DcrGateway
let alice: Person

beforeEach(async () => {
  world = await startWorld()
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

async function start(name = 'notes'): Promise<void> {
  gateway = await startDcrGateway({
    servers: { [name]: world.mcpServer.url },
    mountServers: false,
  })
  alice = browserOf('alice', gateway.url)
}

/** Of its markup, none is a server's: no element but ours, nothing that a browser would run. */
function expectHarmless(page: Page, mentions: RegExp): void {
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(page.text).toMatch(mentions)
  expect(page.text).not.toMatch(/<img|<script>/)
  const policy = page.headers.get('content-security-policy')
  expect(policy).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
  expect(policy).not.toMatch(/unsafe|\*/)
}

/** The same for a program, whose answer no browser must take for a page. */
async function expectJson(url: string): Promise<void> {
  const answer = await alice.fetch(url, { headers: { accept: 'application/json' } })
  expect(answer.headers.get('content-type')).toMatch(/^application\/(problem\+)?json$/)
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  expect(() => JSON.parse(answer.text) as unknown).not.toThrow()
}

function json(path: string, body: unknown, status = 200): Intercept {
  return (_req, res, request) => {
    if (request.path !== path) return false
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    return true
  }
}

const connectUrl = (name = 'notes'): string =>
  `${gateway.url}/api/oauth/authorize/${encodeURIComponent(name)}`
const CONNECTIONS = '/api/oauth/connections'

describe('script in what the MCP server says', () => {
  it.each<[string, object, RegExp]>([
    ['as its resource', { resource: SCRIPT }, /Error code: resource_mismatch/],
    [
      'as its authorization server',
      { authorization_servers: [`javascript://${SCRIPT}`] },
      /Error code: insecure_url/,
    ],
    ['as a host', { authorization_servers: [`http://localhost:1/${SCRIPT}`] }, /Error code: request_failed/],
  ])('%s', async (_, metadata, mentions) => {
    world.mcpServer.metadata = metadata as Record<string, unknown>
    await start()
    expectHarmless(await alice.open(connectUrl()), mentions)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Error/)
    await expectJson(connectUrl())
    await expectJson(gateway.url + CONNECTIONS)
  })

  it('as what nobody shows: its name, logo, documentation and scopes', async () => {
    world.mcpServer.metadata = {
      resource_name: SCRIPT,
      resource_documentation: `javascript:${SCRIPT}`,
      resource_policy_uri: SCRIPT,
      logo_uri: `data:text/html,${SCRIPT}`,
    }
    await start()
    expectHarmless(await alice.signIn(connectUrl()), /Connected to notes/)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Connected/)
  })
})

describe('script in what the authorization server says', () => {
  it.each<[string, object]>([
    ['as its issuer', { issuer: SCRIPT }],
    ['as its authorization endpoint', { authorization_endpoint: `javascript:${SCRIPT}` }],
    ['as its token endpoint', { token_endpoint: `data:text/html,${SCRIPT}` }],
    ['as its PKCE methods', { code_challenge_methods_supported: [SCRIPT] }],
    ['as its registration endpoint', { registration_endpoint: `http://localhost:1/${SCRIPT}` }],
  ])('%s', async (_, changes) => {
    world.authorizationServer.metadata = (document) => ({ ...document, ...changes })
    await start()
    expectHarmless(await alice.open(connectUrl()), /Error code: \w+/)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Error/)
    await expectJson(connectUrl())
  })

  it.each<[string, unknown, number]>([
    ['refusing a registration', { error: 'invalid_client_metadata', error_description: SCRIPT }, 400],
    ['refusing a registration by a code of its own', { error: SCRIPT, error_description: SCRIPT }, 400],
    ['registering', { client_id: SCRIPT, token_endpoint_auth_method: SCRIPT }, 201],
  ])('%s', async (_, body, status) => {
    world.authorizationServer.intercept = json('/reg', body, status)
    await start()
    expectHarmless(await alice.open(connectUrl()), /Error code: \w+/)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Error/)
    await expectJson(connectUrl())
  })

  it('of the client that it has registered', async () => {
    world.authorizationServer.intercept = json(
      '/reg',
      {
        client_id: SCRIPT,
        client_name: SCRIPT,
        scope: SCRIPT,
        logo_uri: SCRIPT,
        token_endpoint_auth_method: 'none',
      },
      201,
    )
    await start()
    const page = await alice.open(connectUrl())
    expect(new URL(page.location ?? '').searchParams.get('client_id')).toBe(SCRIPT)
    expect(page.text).toBe('')
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Not connected/)
    world.authorizationServer.forgetClient(SCRIPT)
  })

  it.each<[string, Record<string, string>]>([
    ['refusing a sign-in', { error: SCRIPT, error_description: SCRIPT, error_uri: `javascript:${SCRIPT}` }],
    ['denying access', { error: 'access_denied', error_description: SCRIPT }],
  ])('%s', async (_, parameters) => {
    await start()
    const { location } = await alice.signIn(connectUrl(), {
      until: ({ pathname }) => pathname === '/api/oauth/callback',
    })
    const callback = new URL(location ?? '')
    callback.searchParams.delete('code')
    for (const [name, value] of Object.entries(parameters)) callback.searchParams.set(name, value)
    expectHarmless(await alice.open(callback), /Error code: (authorization_failed|access_denied)/)
  })

  it.each<[string, object, number, RegExp]>([
    ['refusing a code', { error: SCRIPT, error_description: SCRIPT }, 400, /token_request_failed/],
    ['as a token', { access_token: SCRIPT, token_type: 'Bearer' }, 200, /token_response_invalid/],
    ['as its type', { access_token: 'at', token_type: SCRIPT }, 200, /token_response_invalid/],
    ['as its scope', { access_token: 'at', token_type: 'Bearer', scope: SCRIPT }, 200, /Connected to notes/],
  ])('%s', async (_, body, status, mentions) => {
    world.authorizationServer.intercept = json('/token', body, status)
    await start()
    expectHarmless(await alice.signIn(connectUrl()), mentions)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /onnected/)
    await expectJson(gateway.url + CONNECTIONS)
  })
})

describe('script in the name of a server', () => {
  it('is text in every page', async () => {
    await start(SCRIPT)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Not connected/)
    expectHarmless(await alice.signIn(connectUrl(SCRIPT)), /Connected to &quot;&gt;&lt;img/)
    expectHarmless(await alice.open(gateway.url + CONNECTIONS), /Connected/)
    expectHarmless(await alice.open(`${connectUrl(SCRIPT)}x`), /unknown_server/)
    await expectJson(gateway.url + CONNECTIONS)
  })
})
