import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gate } from '../store/support.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let alice: Person

beforeEach(async () => {
  world = await startWorld()
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url } })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

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
    const first = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(first.status).toBe(302)
    expect(new URL(first.location ?? '').origin).toBe(new URL(world.authorizationServer.issuer).origin)
    expect(callsBeforeSignIn()).toEqual([
      'GET /.well-known/oauth-protected-resource/mcp',
      'GET /.well-known/oauth-authorization-server',
      'POST /reg',
    ])
    const bob = createPerson()
    bob.setCookie(gateway.url, 'user=bob; Path=/')
    expect((await bob.open(`${gateway.url}/mcp/notes/page`)).status).toBe(302)
    expect(callsBeforeSignIn()).toHaveLength(3)
  })

  it('asks for the resource metadata beside the request that is going to be refused', async () => {
    const asked = gate()
    world.mcpServer.intercept = async (_req, _res, { path }) => {
      if (path.startsWith('/.well-known/')) asked.open()
      else await asked.opened
      return false
    }
    expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(302)
    expect(callsBeforeSignIn()).toHaveLength(3)
  })

  it.each<[string, RequestInit]>([
    ['an MCP client', { method: 'POST', headers: { 'x-user': 'alice', accept: 'application/json' } }],
    ['a script', { headers: { 'x-user': 'alice', accept: '*/*' } }],
    ['nobody who is signed in', { headers: { accept: 'text/html' } }],
  ])('makes no call before the challenge where %s asks', async (_who, init) => {
    world.mcpServer.intercept = async (_req, res, { path }) => {
      // What was sent before this request has arrived by then.
      if (path === '/mcp/page') await fetch(`${world.mcpServer.origin}/later`)
      res.writeHead(200).end()
      return true
    }
    expect((await fetch(`${gateway.url}/mcp/notes/page`, init)).status).toBe(200)
    expect(world.mcpServer.requests.map(({ path }) => path)).toEqual(['/mcp/page', '/later'])
  })

  it('registers once for 100 concurrent first 401s (FIELD-NOTES 3)', async () => {
    const pages = await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const person = createPerson()
        person.setCookie(gateway.url, `user=user${i}; Path=/`)
        return person.open(`${gateway.url}/mcp/notes/page`)
      }),
    )
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([302]))
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    expect(
      new Set(pages.map(({ location }) => new URL(location ?? '').searchParams.get('client_id'))).size,
    ).toBe(1)
  })
})
