import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listen, type Intercept, type TestServer } from '../support/server.js'
import { echo, startSignedInFetch, type SignedInFetch } from './signed-in-fetch.js'

let alice: SignedInFetch
let other: TestServer
let origin: string
let token: string

beforeEach(async () => {
  other = await listen()
  other.intercept = answerOk
  alice = await startSignedInFetch(({ mcpServer }) => ({
    inside: `${mcpServer.url}/inside`,
    projectA: `${mcpServer.origin}/projects?id=a`,
    projectB: `${mcpServer.origin}/projects?id=b`,
  }))
  origin = alice.world.mcpServer.origin
  token = await alice.token()
  alice.world.mcpServer.requests.length = 0
  alice.world.mcpServer.intercept = answerOk
})

afterEach(async () => {
  await alice.close()
  await other.close()
})

const answerOk: Intercept = (_req, res) => {
  res.end('ok')
  return true
}

const seenBy = ({ requests }: TestServer) => requests.map(({ authorization }) => authorization)

/** Answers these paths with a redirect, and all others with 200. */
function redirect(paths: Record<string, [status: number, location: string]>): Intercept {
  return (req, res, request) => {
    const found = paths[request.url]
    if (found === undefined) return answerOk(req, res, request)
    res.writeHead(found[0], { location: found[1] }).end()
    return true
  }
}

describe('a token goes to its own server (SPEC 34)', () => {
  it.each(['/mcp', '/mcp/', '/mcp/page', '/mcp?x=1', '/other/../mcp', '/mcp/a%2Fb', '/mcp/..a/b..'])(
    'at %s',
    async (path) => {
      await alice.fetch(origin + path)
      expect(seenBy(alice.world.mcpServer)).toEqual([token])
    },
  )

  it.each([
    '/',
    '/mcpx',
    '/mcp.example/x',
    '/MCP',
    '/mcp/../other',
    '/mcp/%2e%2E/other',
    '/mcp/..%2fother',
    '/mcp/%2e%2e%2Fother',
    '/mcp/x/..%5c..%5cother',
    '/mcp%2fpage',
    '//mcp',
    '/mcp/inside',
    '/mcp/inside/page',
  ])('and not to %s of the same origin', async (path) => {
    expect((await alice.fetch(origin + path)).status).toBe(200)
    expect(seenBy(alice.world.mcpServer)).toEqual([undefined])
  })

  it.each([
    (at: URL) => `http://${at.host}@${other.url.slice(7)}/mcp`,
    (at: URL) => `http://${at.hostname}:${at.port}\\@${other.url.slice(7)}/mcp`,
    (at: URL) => `${other.url}/${at.href}`,
    (at: URL) => `${other.url}/mcp#${at.href}`,
    (at: URL) => `http://127.0.0.1:${at.port}/mcp`,
  ])('and not to another origin (%#)', async (make) => {
    // A URL that has credentials fetch refuses to send at all.
    await alice.fetch(make(new URL(`${origin}/mcp`))).catch(() => undefined)
    for (const seen of [...seenBy(other), ...seenBy(alice.world.mcpServer)]) expect(seen).toBeUndefined()
  })

  it('and not with credentials of a URL’s own', async () => {
    const { host } = new URL(origin)
    await expect(alice.fetch(`http://alice:secret@${host}/mcp`)).rejects.toThrow(TypeError)
    expect(seenBy(alice.world.mcpServer)).toEqual([])
  })

  it('and the caller’s own Authorization to nobody', async () => {
    const headers = { authorization: 'Bearer mine' }
    await alice.fetch(`${origin}/mcp`, { headers })
    await alice.fetch(new Request(`${origin}/other`, { headers }))
    await alice.fetch(other.url, { headers })
    expect([seenBy(alice.world.mcpServer), seenBy(other)]).toEqual([[token, undefined], [undefined]])
  })

  it('that its query tells apart from another', async () => {
    const ofA = alice.gateway.dcr.fetch('alice', 'projectA')
    const needsSignIn = { code: 'authorization_required', server: 'projectA' }
    alice.world.mcpServer.intercept = (_req, res) => {
      res.writeHead(401).end()
      return true
    }
    await expect(ofA(`${origin}/projects?id=a`)).rejects.toMatchObject(needsSignIn)
    expect((await ofA(`${origin}/projects?id=b`)).status).toBe(401)
  })
})

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('%i keeps the token within the server', async (status) => {
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [status, 'to?x=1'] })
    const answer = await alice.fetch(`${origin}/mcp/from`)
    expect([answer.status, answer.redirected, answer.url]).toEqual([200, true, `${origin}/mcp/to?x=1`])
    expect(seenBy(alice.world.mcpServer)).toEqual([token, token])
  })

  it.each([301, 302, 303, 307, 308])('%i to another origin loses it', async (status) => {
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [status, `${other.url}/mcp`] })
    expect((await alice.fetch(`${origin}/mcp/from`)).url).toBe(`${other.url}/mcp`)
    expect([seenBy(alice.world.mcpServer), seenBy(other)]).toEqual([[token], [undefined]])
  })

  it.each(['/other', '/', '/mcp/inside', '../mcpx', '//localhost:1/'])(
    'to %s of the same origin, or none, loses it',
    async (location) => {
      alice.world.mcpServer.intercept = redirect({ '/mcp/from': [307, location] })
      await alice.fetch(`${origin}/mcp/from`).catch(() => undefined)
      expect(seenBy(alice.world.mcpServer).slice(0, 2)).toEqual(
        location.startsWith('//') ? [token] : [token, undefined],
      )
    },
  )

  it('does not bring it back, once lost', async () => {
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [307, `${other.url}/x`] })
    other.intercept = redirect({ '/x': [307, `${origin}/mcp/delete-everything`] })
    expect((await alice.fetch(`${origin}/mcp/from`)).url).toBe(`${origin}/mcp/delete-everything`)
    expect(seenBy(alice.world.mcpServer)).toEqual([token, undefined])
  })

  it('from elsewhere to the server does not fetch it', async () => {
    other.intercept = redirect({ '/x': [307, `${origin}/mcp`] })
    await alice.fetch(`${other.url}/x`)
    expect(seenBy(alice.world.mcpServer)).toEqual([undefined])
  })

  it('to elsewhere costs the connection nothing where that answers 401', async () => {
    other.intercept = (_req, res) => {
      res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      return true
    }
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [302, other.url] })
    expect((await alice.fetch(`${origin}/mcp/from`)).status).toBe(401)
    expect(await alice.gateway.dcr.connections('alice')).toMatchObject([{ state: 'connected' }, {}, {}, {}])
    expect(alice.refreshes()).toBe(0)
  })

  it('307 takes the body along, 302 and 303 turn a POST into a GET without it, and a cookie stays', async () => {
    const redirects: Intercept = redirect({
      '/mcp/302': [302, '/mcp/to'],
      '/mcp/303': [303, '/mcp/to'],
      '/mcp/307': [307, '/mcp/to'],
    })
    alice.world.mcpServer.intercept = async (...arrived) =>
      (await echo('/mcp/to')(...arrived)) || redirects(...arrived)
    const init = { method: 'POST', headers: { 'content-type': 'text/plain', 'x-own': 'x' }, body: 'a' }
    const sent = await Promise.all(
      [302, 303, 307].map(async (status) => (await alice.fetch(`${origin}/mcp/${status}`, init)).json()),
    )
    const get = { method: 'GET', body: '', type: null, authorization: token }
    expect(sent).toEqual([get, get, { method: 'POST', body: 'a', type: 'text/plain', authorization: token }])
    expect(alice.world.mcpServer.requests.map(({ headers }) => headers['x-own'])).toEqual(Array(6).fill('x'))
  })

  it('to another origin leaves cookies behind', async () => {
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [302, other.url] })
    await alice.fetch(`${origin}/mcp/from`, { headers: { cookie: 'a=1', 'x-own': 'x' } })
    expect(other.requests[0]?.headers).toMatchObject({ 'x-own': 'x' })
    expect(other.requests[0]?.headers.cookie).toBeUndefined()
  })

  it('fails as that of fetch: in circles, to no http URL, with a stream that has been read', async () => {
    alice.world.mcpServer.intercept = redirect({
      '/mcp/round': [302, '/mcp/round'],
      '/mcp/file': [302, 'file:///etc/passwd'],
      '/mcp/307': [307, '/mcp/to'],
    })
    const body = new Blob(['a']).stream()
    const failed = (path: string, init?: RequestInit) =>
      expect(alice.fetch(origin + path, init)).rejects.toThrow(new TypeError('fetch failed'))
    await failed('/mcp/round')
    expect(alice.world.mcpServer.requests).toHaveLength(21)
    await failed('/mcp/file')
    await failed('/mcp/307', { method: 'POST', body, duplex: 'half' })
  })

  it('is the caller’s own where they ask for that', async () => {
    alice.world.mcpServer.intercept = redirect({ '/mcp/from': [302, '/mcp/to'] })
    const answer = await alice.fetch(`${origin}/mcp/from`, { redirect: 'manual' })
    expect([answer.status, answer.headers.get('location')]).toEqual([302, '/mcp/to'])
    const request = new Request(`${origin}/mcp/from`, { redirect: 'error' })
    await expect(alice.fetch(request)).rejects.toThrow(TypeError)
    expect(seenBy(alice.world.mcpServer)).toEqual([token, token])
  })
})
