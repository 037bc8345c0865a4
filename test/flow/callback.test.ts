import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPerson, type Page, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let alice: Person
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
  alice = person('alice')
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

function person(user: string): Person {
  const somebody = createPerson()
  somebody.setCookie(gateway.url, `user=${user}; Path=/`)
  return somebody
}

const toCallback = (url: URL): boolean => url.pathname === '/api/oauth/callback'

/** Signs in up to the redirect back, which is not followed. */
async function untilCallback(somebody = alice, path = '/mcp/notes/page'): Promise<string> {
  const page = await somebody.signIn(gateway.url + path, { until: toCallback })
  expect(page.location).toContain('/api/oauth/callback?code=')
  return page.location ?? ''
}

async function stateOf(user: string): Promise<string | undefined> {
  return (await gateway.dcr.connections(user))[0]?.state
}

function expectErrorPage(page: Page, status: number, code: string): void {
  expect([page.status, page.headers.get('content-type')]).toEqual([status, 'text/html; charset=utf-8'])
  expect(page.text).toContain(`Error code: ${code}`)
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
  expect(page.headers.get('cache-control')).toBe('no-store')
  expect(page.headers.get('referrer-policy')).toBe('no-referrer')
  expect(page.headers.get('x-content-type-options')).toBe('nosniff')
}

function tokenRequests(): number {
  return world.authorizationServer.count('POST', '/token')
}

describe('the pending flow (SPEC 23 to 27)', () => {
  it('is a sealed cookie of this browser, for ten minutes, and a fresh PKCE challenge each time', async () => {
    const pages = [
      await alice.open(`${gateway.url}/mcp/notes/page`),
      await alice.open(`${gateway.url}/mcp/notes/page`),
    ]
    const requests = pages.map(({ location }) => new URL(location ?? '').searchParams)
    for (const request of requests) {
      expect(Object.fromEntries(request)).toMatchObject({
        response_type: 'code',
        redirect_uri: `${gateway.url}/api/oauth/callback`,
        code_challenge_method: 'S256',
        resource: world.mcpServer.resource,
      })
    }
    expect(new Set(requests.map((request) => request.get('code_challenge'))).size).toBe(2)
    expect(new Set(requests.map((request) => request.get('state'))).size).toBe(2)
    const setCookie = pages[0]?.headers.get('set-cookie') ?? ''
    expect(setCookie).toMatch(/^mcp-dcr-[^=]+=[\w.-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/)
    for (const secret of ['verifier', requests[0]?.get('state') ?? '', 'alice'])
      expect(setCookie).not.toContain(secret)
  })

  it('uses a __Host- cookie where the base URL is https, and takes no other', async () => {
    const origin = 'https://gateway.example.com'
    const https = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: () => ({ baseUrl: origin, encryptionKey: 'k'.repeat(32) }),
    })
    const visitor = (): Person => {
      const somebody = createPerson({ hosts: { [origin]: https.url } })
      somebody.setCookie(origin, 'user=alice; Path=/')
      return somebody
    }
    const [own, other] = [visitor(), visitor()]
    const page = await own.open(`${origin}/mcp/notes/page`)
    expect(page.headers.get('set-cookie')).toMatch(
      /^__Host-mcp-dcr-[^=]+=[^;]+; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    )
    const { location: callback = '' } = await own.signIn(page.location ?? '', { until: toCallback })
    for (const [name, value] of Object.entries(own.cookies(origin))) {
      // As another host of the domain can plant it.
      if (name.startsWith('__Host-')) other.setCookie(origin, `${name.slice(7)}=${value}; Path=/`)
    }
    expect(Object.keys(other.cookies(origin))).toContainEqual(expect.stringMatching(/^mcp-dcr-/))
    expectErrorPage(await other.follow(callback), 400, 'flow_not_found')
    const connected = await own.follow(callback)
    expect([connected.status, connected.url]).toEqual([200, `${origin}/mcp/notes/page`])
    await https.close()
  })

  it('lets several flows of one browser finish in any order', async () => {
    const first = await untilCallback(alice, '/mcp/notes/page?n=1')
    const second = await untilCallback(alice, '/mcp/notes/page?n=2')
    expect((await alice.follow(second)).url).toBe(`${gateway.url}/mcp/notes/page?n=2`)
    expect((await alice.follow(first)).url).toBe(`${gateway.url}/mcp/notes/page?n=1`)
  })

  it('keeps five unfinished flows and drops the oldest, so that cookies cannot fill the request', async () => {
    for (let i = 0; i < 12; i++) {
      now += 1000
      await alice.open(`${gateway.url}/mcp/notes/page`)
    }
    const cookies = Object.entries(alice.cookies(gateway.url)).filter(([name]) => name.startsWith('mcp-dcr-'))
    expect(cookies).toHaveLength(5)
    expect(cookies.join('').length).toBeLessThan(10_000)
  })

  it('brings the person back to a long address', async () => {
    const address = `${gateway.url}/mcp/notes/page?q=${randomBytes(1400).toString('base64url')}`
    expect((await alice.signIn(address)).url).toBe(address)
  })

  it('holds a hundred scopes, without the way back where a cookie has no room for both', async () => {
    const scopes = Array.from({ length: 100 }, (_, i) => `workspace.records.${i}:read`)
    const page = await askFor(scopes, randomBytes(1480).toString('base64url'))
    expect([page.status, new URL(page.url).pathname]).toEqual([200, '/api/oauth/connected/notes'])
    expect((await gateway.dcr.connections('alice'))[0]?.scope).toBe(scopes.join(' '))
  })

  it('says so where the scopes are more than a cookie can hold', async () => {
    const page = await askFor(Array.from({ length: 200 }, () => randomBytes(15).toString('base64url')))
    expectErrorPage(page, 502, 'authorization_failed')
    expect(page.text).toContain('asks for so many scopes')
  })

  async function askFor(scopes: string[], query = ''): Promise<Page> {
    await gateway.close()
    await world.close()
    world = await startWorld({
      authorizationServer: { scopes },
      mcpServer: { scopesSupported: scopes, requiredScopes: scopes.slice(0, 1) },
    })
    gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url } })
    alice = person('alice')
    return alice.signIn(`${gateway.url}/mcp/notes/page?q=${query}`)
  }
})

describe('a callback that must change nothing (SPEC 26, 28 to 30)', () => {
  it('refuses a forged one, with a code or with an error, and the pending flow survives it (FIELD-NOTES 28)', async () => {
    const callback = await untilCallback()
    const { searchParams } = new URL(callback)
    const [state, iss] = [searchParams.get('state') ?? '', searchParams.get('iss') ?? '']
    const forgeries = [
      { state: 'forged', code: 'theirs', iss },
      { state: 'forged', error: 'access_denied', iss },
      { state: `${state}x`, error: 'access_denied', iss },
      { state, error: 'access_denied', iss: 'https://evil.example' },
      { state, error: 'access_denied' },
    ]
    const codes = []
    for (const forged of forgeries) {
      const page = await alice.follow(
        `${gateway.url}/api/oauth/callback?${new URLSearchParams(forged as Record<string, string>)}`,
      )
      expect(page.headers.get('set-cookie')).toBeNull()
      codes.push(/Error code: (\w+)/.exec(page.text)?.[1])
    }
    expect(codes).toEqual([...Array<string>(3).fill('flow_not_found'), 'issuer_mismatch', 'issuer_mismatch'])
    expect(tokenRequests()).toBe(0)
    expect((await alice.follow(callback)).status).toBe(200)
  })

  it.each(['', '?code=x', '?state=a&state=b&code=x', `?state=${'s'.repeat(5000)}`])(
    'refuses %j',
    async (query) => {
      expectErrorPage(await alice.follow(`${gateway.url}/api/oauth/callback${query}`), 400, 'flow_not_found')
    },
  )

  it('refuses a replay', async () => {
    const callback = await untilCallback()
    const cookies = alice.cookies(callback)
    expect((await alice.follow(callback)).status).toBe(200)
    expectErrorPage(await alice.follow(callback), 400, 'flow_not_found')
    for (const [name, value] of Object.entries(cookies))
      alice.setCookie(gateway.url, `${name}=${value}; Path=/`)
    expectErrorPage(await alice.follow(callback), 400, 'flow_not_found')
    expect(tokenRequests()).toBe(1)
    expect(await stateOf('alice')).toBe('connected')
  })

  it('refuses it in another browser of the same user', async () => {
    const callback = await untilCallback()
    expectErrorPage(await person('alice').follow(callback), 400, 'flow_not_found')
    expect(tokenRequests()).toBe(0)
  })

  it('refuses it when another user is signed in by now', async () => {
    const callback = await untilCallback()
    alice.setCookie(gateway.url, 'user=mallory; Path=/')
    expectErrorPage(await alice.follow(callback), 403, 'user_mismatch')
    expect([tokenRequests(), await stateOf('mallory'), await stateOf('alice')]).toEqual([
      0,
      'not_connected',
      'not_connected',
    ])
    alice.setCookie(gateway.url, 'user=alice; Path=/')
    expect((await alice.follow(callback)).status).toBe(200)
  })

  it('connects nobody to an account of somebody else (login CSRF), even with the cookies of that one’s browser', async () => {
    const mallory = person('mallory')
    const callback = await untilCallback(mallory)
    expectErrorPage(await alice.follow(callback), 400, 'flow_not_found')
    for (const [name, value] of Object.entries(mallory.cookies(gateway.url))) {
      if (name.startsWith('mcp-dcr-')) alice.setCookie(gateway.url, `${name}=${value}; Path=/`)
    }
    expectErrorPage(await alice.follow(callback), 403, 'user_mismatch')
    expect([tokenRequests(), await stateOf('alice')]).toEqual([0, 'not_connected'])
  })

  it('refuses it after ten minutes', async () => {
    const callback = await untilCallback()
    now += 601_000
    expectErrorPage(await alice.follow(callback), 400, 'flow_expired')
    expect(tokenRequests()).toBe(0)
  })

  it('refuses another issuer, shows nothing of its answer, and the pending flow survives it (RFC 9207)', async () => {
    const callback = await untilCallback()
    const foreign = new URL(callback)
    foreign.searchParams.set('iss', 'https://evil.example')
    foreign.searchParams.set('error', 'evil_code')
    foreign.searchParams.set('error_description', 'call this number')
    const page = await alice.follow(foreign)
    expectErrorPage(page, 502, 'issuer_mismatch')
    expect(page.text).not.toMatch(/evil|number/)
    const silent = new URL(callback)
    silent.searchParams.delete('iss')
    expectErrorPage(await alice.follow(silent), 502, 'issuer_mismatch')
    expect(tokenRequests()).toBe(0)
    expect((await alice.follow(callback)).status).toBe(200)
  })

  it('refuses a cookie whose content was moved from another flow, or meddled with', async () => {
    const first = await untilCallback(alice, '/mcp/notes/page?n=1')
    const [name, value] = Object.entries(alice.cookies(gateway.url)).find(([key]) =>
      key.startsWith('mcp-dcr-'),
    ) ?? ['', '']
    alice.setCookie(gateway.url, `${name}=${value.slice(0, -4)}AAAA; Path=/`)
    expectErrorPage(await alice.follow(first), 400, 'flow_not_found')
    const second = await untilCallback(alice, '/mcp/notes/page?n=2')
    const other =
      Object.keys(alice.cookies(gateway.url)).find((key) => key.startsWith('mcp-dcr-') && key !== name) ?? ''
    alice.setCookie(gateway.url, `${other}=${value}; Path=/`)
    expectErrorPage(await alice.follow(second), 400, 'flow_not_found')
    expect(tokenRequests()).toBe(0)
  })
})

describe('how a flow ends', () => {
  it('shows a page that says what to do when access is denied', async () => {
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`, { decision: 'deny' })
    expectErrorPage(page, 403, 'access_denied')
    expect(page.text).toContain(
      `href="/api/oauth/authorize/notes?return_to=%2Fmcp%2Fnotes%2Fpage"`.replace(
        'href="',
        `href="${gateway.url}`,
      ),
    )
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })

  it('escapes what the authorization server says', async () => {
    const callback = new URL(await untilCallback())
    callback.searchParams.set('error', 'x')
    callback.searchParams.set('error_description', '<script>alert(1)</script>')
    const page = await alice.follow(callback)
    expectErrorPage(page, 502, 'authorization_failed')
    expect(page.text).not.toContain('<script>alert')
  })

  it('ends on the connected page where it began at the connect URL', async () => {
    const page = await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/api/oauth/connected/notes`])
    expect(page.text).toContain('Connected to notes')
    expect(page.headers.get('content-security-policy')).toMatch(/script-src 'sha256-/)
  })

  it.each([
    '//evil.example',
    '/\\evil.example',
    'https://evil.example/',
    '/.//evil.example',
    'javascript:alert(1)',
    '\\\\evil',
  ])('never leads to %j (SPEC 31)', async (target) => {
    const page = await alice.signIn(
      `${gateway.url}/api/oauth/authorize/notes?return_to=${encodeURIComponent(target)}`,
    )
    expect(page.hops.map(({ url }) => new URL(url).hostname)).not.toContain('evil.example')
    expect(page.url).toBe(`${gateway.url}/api/oauth/connected/notes`)
  })

  it('takes a browser at 127.0.0.1 to the base URL first, the one place to come back to (FIELD-NOTES 5)', async () => {
    const { port } = gateway
    const visitor = person('alice')
    visitor.setCookie(`http://127.0.0.1:${port}`, 'user=alice; Path=/')
    const page = await visitor.signIn(`http://127.0.0.1:${port}/mcp/notes/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
    const callbackUrl = `${gateway.url}/api/oauth/callback`
    const registered = world.authorizationServer.requests.find(({ path }) => path === '/reg')
    expect(JSON.parse(registered?.body ?? '').redirect_uris).toEqual([callbackUrl])
    const authorized = page.hops.find(({ url }) => new URL(url).pathname === '/auth')
    expect(new URL(authorized?.url ?? '').searchParams.get('redirect_uri')).toBe(callbackUrl)
  })
})

describe('the connect URL', () => {
  it('needs a signed-in user, and a known server', async () => {
    expectErrorPage(
      await createPerson().open(`${gateway.url}/api/oauth/authorize/notes`),
      401,
      'user_required',
    )
    expectErrorPage(await alice.open(`${gateway.url}/api/oauth/authorize/nothing`), 404, 'unknown_server')
    expectErrorPage(await alice.open(`${gateway.url}/api/oauth/nowhere`), 404, 'not_found')
  })
})

describe('unfinished sign-ins of one browser', () => {
  const page = (n: number | string): string => `${gateway.url}/mcp/notes/page?n=${n}`
  /** What a request of this browser carries, in bytes. */
  const cookieBytes = (): number =>
    Object.entries(alice.cookies(gateway.url))
      .map(([name, value]) => `${name}=${value}`)
      .join('; ').length

  async function openInTurn(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      now += 1000
      expect((await alice.open(`${gateway.url}/api/oauth/authorize/notes`)).status).toBe(302)
    }
  }

  it('twenty, one after the other: the 21st works, and so do four more before it is dropped', async () => {
    await openInTurn(20)
    now += 1000
    const dropped = await untilCallback()
    now += 1000
    const finished = await untilCallback()
    await openInTurn(3)
    expect((await alice.follow(finished)).status).toBe(200)
    await openInTurn(5)
    expectErrorPage(await alice.follow(dropped), 400, 'flow_not_found')
  })

  it('twenty tabs at once, of which none knows of the others: each is answered, and the 21st works', async () => {
    // Those with a long way back have large cookies.
    const ways = Array.from({ length: 20 }, (_, n) =>
      page(n % 3 === 0 ? 'x'.repeat(20) + randomBytes(900).toString('hex') : n),
    )
    const tabs = await Promise.all(ways.map((way) => alice.open(way)))
    expect(tabs.map(({ status }) => status)).toEqual(Array<number>(20).fill(302))
    // Node.js takes 16 KB of headers, and the gateway has cookies of its own.
    expect(cookieBytes()).toBeLessThan(12_500)
    expect((await alice.signIn(page(20))).url).toBe(page(20))
  })

  it('take no more than half of what a request may have, however long the ways back are', async () => {
    const long = (bytes: number): string => page(randomBytes(bytes).toString('base64url'))
    for (const bytes of [220, 220, 220, 220, 220, 1400]) {
      now += 1000
      expect((await alice.open(long(bytes))).status).toBe(302)
    }
    // Their names and punctuation, and the cookie that says who it is.
    expect(cookieBytes()).toBeLessThan(8192 + 200)
    const newest = long(1400)
    expect((await alice.signIn(newest)).url).toBe(newest)
  })

  it('cannot be hidden or driven out by cookies that another page of the host has planted', async () => {
    const callback = await untilCallback()
    const own = Object.entries(alice.cookies(gateway.url)).filter(([name]) => name.startsWith('mcp-dcr-'))
    const [[name = '', value = ''] = []] = own
    const damaged = value.slice(0, -4)
    // The last one claims to be the newest of all.
    for (const planted of ['', 'x', damaged, damaged.replace(/^[^-]+/, 'zzzzzzzz')]) {
      for (const slot of ['0', '1', '2', '3', '4', '5']) {
        if (`mcp-dcr-${slot}` !== name) alice.setCookie(gateway.url, `mcp-dcr-${slot}=${planted}; Path=/`)
      }
      // A longer path comes first in the request.
      alice.setCookie(gateway.url, `${name}=${planted}; Path=/api/oauth`)
      await alice.open(page(1))
    }
    expect((await alice.follow(callback)).status).toBe(200)
  })
})
