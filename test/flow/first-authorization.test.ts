import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gate } from '../store/support.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, NOTES_PAGE } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let alice: Person
let now: number

beforeEach(async () => {
  world = await startWorld()
  now = Date.now()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
  alice = browserOf('alice', gateway.url)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const page = (): string => gateway.url + NOTES_PAGE

/** What was sent to the MCP server before a request has arrived by the time it is answered. */
function serveWithoutChallenge(): void {
  world.mcpServer.intercept = async (_req, res, { path }) => {
    if (path === '/mcp/page') await fetch(`${world.mcpServer.origin}/later`)
    res.writeHead(200).end()
    return true
  }
}

/** What was asked of anybody before the person came to the authorization server. */
function callsBeforeSignIn(): string[] {
  const own = world.authorizationServer.requests.filter(({ path }) => path !== '/auth')
  const resource = world.mcpServer.requests.filter(({ path }) => path.startsWith('/.well-known/'))
  return [...resource, ...own].map(({ method, path }) => `${method} ${path}`)
}

describe('the first authorization (MCP authorization, RFC 9728, 8414, 7591, 7636)', () => {
  it('brings the person back to the page that they asked for', async () => {
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page?tab=2`)
    expect(page.status).toBe(200)
    expect(page.url).toBe(`${gateway.url}/mcp/notes/page?tab=2`)
    expect(page.text).toContain('alice')
  })

  it('makes exactly three calls before the redirect, and none for the second user', async () => {
    const first = await alice.open(page())
    expect(first.status).toBe(302)
    expect(new URL(first.location ?? '').origin).toBe(new URL(world.authorizationServer.issuer).origin)
    expect(callsBeforeSignIn()).toEqual([
      'GET /.well-known/oauth-protected-resource/mcp',
      'GET /.well-known/oauth-authorization-server',
      'POST /reg',
    ])
    const bob = browserOf('bob', gateway.url)
    expect((await bob.open(page())).status).toBe(302)
    expect(callsBeforeSignIn()).toHaveLength(3)
  })

  it('asks for the resource metadata beside the request that is going to be refused', async () => {
    const asked = gate()
    world.mcpServer.intercept = async (_req, _res, { path }) => {
      if (path.startsWith('/.well-known/')) asked.open()
      else await asked.opened
      return false
    }
    expect((await alice.open(page())).status).toBe(302)
    expect(callsBeforeSignIn()).toHaveLength(3)
  })

  it.each<[string, () => Promise<{ status: number }>]>([
    ['an MCP client', () => fetch(page(), { method: 'POST', headers: { 'x-user': 'alice' } })],
    ['a script', () => fetch(page(), { headers: { 'x-user': 'alice', accept: '*/*' } })],
    ['a person whom the gateway does not know', () => createPerson().open(page())],
  ])('makes no call before the challenge where %s asks', async (_who, ask) => {
    serveWithoutChallenge()
    expect((await ask()).status).toBe(200)
    expect(world.mcpServer.requests.map(({ path }) => path)).toEqual(['/mcp/page', '/later'])
  })

  it('makes no call for somebody who is connected, when nothing is known of the server any more', async () => {
    await alice.signIn(page())
    now += 300_000
    world.mcpServer.requests.length = 0
    serveWithoutChallenge()
    expect((await alice.open(page())).status).toBe(200)
    expect(world.mcpServer.requests.map(({ path }) => path)).toEqual(['/mcp/page', '/later'])
  })

  it('registers once for 100 concurrent first 401s (FIELD-NOTES 3)', async () => {
    const pages = await Promise.all(
      Array.from({ length: 100 }, (_, i) => browserOf(`user${i}`, gateway.url).open(page())),
    )
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([302]))
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    expect(
      new Set(pages.map(({ location }) => new URL(location ?? '').searchParams.get('client_id'))).size,
    ).toBe(1)
  })
})
