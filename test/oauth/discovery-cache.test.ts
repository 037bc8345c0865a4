import { beforeEach, describe, expect, it } from 'vitest'
import { bareServer } from '../../src/oauth/bare-server.js'
import { createDiscover, type Discover } from '../../src/oauth/discover.js'
import type { GuardedFetch } from '../../src/security/guarded-fetch.js'
import {
  ASM,
  createOAuthContext,
  declare,
  expectFailure,
  gate,
  json,
  metadataOf,
  PRM,
  startFake,
  startOwnIssuer,
  status,
  type FakeServer,
  type TestContext,
} from './support.js'

let fake: FakeServer
let context: TestContext

beforeEach(async () => {
  context = createOAuthContext()
  fake = await startOwnIssuer()
})

/** How many discoveries were made. */
const discoveries = (): number => fake.count('GET', ASM)

describe('the discovery cache', () => {
  it('serves five minutes, then asks again', async () => {
    const server = declare(fake.url)
    const first = await context.discover(server, undefined)
    context.pass(299_999)
    expect(await context.discover(server, undefined)).toBe(first)
    expect(discoveries()).toBe(1)
    context.pass(1)
    await context.discover(server, undefined)
    expect(discoveries()).toBe(2)
  })

  it('makes one discovery of 100 at the same time', async () => {
    const server = declare(fake.url)
    const found = await Promise.all(Array.from({ length: 100 }, () => context.discover(server, undefined)))
    expect(new Set(found).size).toBe(1)
    expect(fake.asked()).toHaveLength(2)
  })

  it('asks again where a challenge names another metadata URL (RFC 9728 §5.2)', async () => {
    const server = declare(fake.url)
    const moved = await startFake((url) => ({ [ASM]: json(metadataOf(url)) }))
    const challenge = { resourceMetadata: `${fake.url}/prm` }
    await context.discover(server, challenge)
    fake.replies['/moved'] = json({ resource: fake.url, authorization_servers: [moved.url] })
    const found = await context.discover(server, { resourceMetadata: `${fake.url}/moved` })
    expect(found.authorizationServer.issuer).toBe(moved.url)
    await context.discover(server, { ...challenge, scope: 'other', error: 'invalid_token' })
    expect([fake.count('GET', '/prm'), fake.count('GET', '/moved'), discoveries()]).toEqual([1, 1, 1])
  })

  it('asks again after a rejected token, though not more than once in ten seconds', async () => {
    const server = declare(fake.url)
    await context.discover(server, undefined)
    context.pass(10_000)
    const moved = await startFake((url) => ({ [ASM]: json(metadataOf(url)) }))
    fake.replies[PRM] = json({ resource: fake.url, authorization_servers: [moved.url] })
    const rejected = await context.discover(server, undefined, { fresh: true })
    expect(rejected.authorizationServer.issuer).toBe(moved.url)
    context.pass(9_999)
    expect(await context.discover(server, undefined, { fresh: true })).toBe(rejected)
    expect(await context.discover(server, undefined)).toBe(rejected)
    expect(fake.count('GET', PRM)).toBe(2)
    context.pass(1)
    await context.discover(server, undefined, { fresh: true })
    expect(fake.count('GET', PRM)).toBe(3)
  })

  it.each([{ fresh: false }, { fresh: true }])(
    'keeps a failure for five seconds, that visitors cannot have it repeated at once: %j',
    async (options) => {
      const server = declare(fake.url)
      const discover = () => context.discover(server, undefined, options)
      fake.replies[ASM] = status(503)
      await Promise.all([discover(), discover()].map((promise) => expectFailure(promise, 'request_failed')))
      expect(discoveries()).toBe(1)
      fake.replies[ASM] = json(metadataOf(fake.url))
      context.pass(4999)
      await expectFailure(discover(), 'request_failed')
      context.pass(1)
      expect((await discover()).authorizationServer.issuer).toBe(fake.url)
      expect(discoveries()).toBe(2)
    },
  )

  it('keeps a failure from when it failed: it may have taken longer than that', async () => {
    const server = declare(fake.url)
    const asked = gate()
    let answer = (): void => undefined
    fake.replies[ASM] = (res, request) => {
      answer = () => status(503)(res, request)
      asked.open()
    }
    const failing = context.discover(server, undefined)
    await asked.opened
    context.pass(20_000)
    answer()
    await expectFailure(failing, 'request_failed')
    context.pass(4999)
    await expectFailure(context.discover(server, undefined), 'request_failed')
    expect(discoveries()).toBe(1)
  })

  it('tells servers apart: by name, URL and configuration', async () => {
    await context.discover(declare(fake.url), undefined)
    await context.discover(declare(fake.url, {}, 'other'), undefined)
    await context.discover(declare(`${fake.url}/mcp`), undefined)
    await context.discover(declare(fake.url, { issuer: fake.url }), undefined)
    expect(discoveries()).toBe(4)
  })

  it('holds a thousand, and forgets the oldest', async () => {
    const { discover, calls } = counting()
    const servers = Array.from({ length: 1001 }, (_, i) => declare(`https://mcp${i}.example`))
    for (const server of servers) await discover(server, undefined)
    expect(calls()).toBe(2002)
    await discover(servers[1], undefined)
    expect(calls()).toBe(2002)
    await discover(servers[0], undefined)
    expect(calls()).toBe(2004)
  })

  it.each([
    ['a declared server', declare('https://hostile.example')],
    ['an undeclared upstream', undefined],
  ])(
    'holds 24 of %s, which cannot have others forgotten by naming other metadata each time',
    async (_who, hostile) => {
      const { discover, calls } = counting()
      const server = declare('https://mcp.example')
      await discover(server, undefined)
      const named = (n: number) => discover(hostile, { resourceMetadata: `https://hostile.example/${n}` })
      for (let n = 0; n < 1100; n++) await named(n)
      const before = calls()
      await discover(server, undefined)
      for (let n = 1099; n >= 1076; n--) await named(n)
      expect(calls()).toBe(before)
      await named(1075)
      expect(calls()).toBe(before + 2)
    },
  )
})

/** A discovery of which every server is as it should be, and how many requests it has made. */
function counting(): { discover: Discover; calls: () => number } {
  let calls = 0
  const discover = discoverBy(async (url) => {
    calls++
    const { origin, pathname } = new URL(url)
    const resource = { resource: origin, authorization_servers: [origin] }
    return Response.json(pathname === ASM ? metadataOf(origin) : resource)
  })
  return { discover, calls: () => calls }
}

describe('of discoveries of one server at the same time', () => {
  it('four run and twenty wait; another one fails at once, and works a moment later', async () => {
    const [four, released] = [gate(), gate()]
    let running = 0
    let most = 0
    const discover = discoverBy(async (url) => {
      const { origin, pathname } = new URL(url)
      if (pathname === ASM) return Response.json(metadataOf(origin))
      if (origin === 'https://notes.example') {
        most = Math.max(most, ++running)
        if (running === 4) four.open()
        await released.opened
        running--
      }
      return Response.json({ resource: origin, authorization_servers: [origin] })
    })
    const server = declare('https://notes.example')
    const at = (n: number) => discover(server, { resourceMetadata: `https://notes.example/${n}` })
    const found = Array.from({ length: 24 }, (_, n) => at(n))
    await expectFailure(at(24), 'request_failed', /too many discoveries/i)
    await four.opened
    const other = await discover(declare('https://other.example'), undefined)
    expect(other.resource).toBe('https://other.example')
    released.open()
    await Promise.all(found)
    expect(most).toBe(4)
    expect((await at(24)).resource).toBe('https://notes.example')
  })

  it('undeclared upstreams have one bound together', async () => {
    const discover = discoverBy(() => new Promise(() => undefined))
    const at = (n: number) => {
      const url = `https://mcp${n}.example`
      return discover(n % 2 === 0 ? undefined : bareServer(url, url), { resourceMetadata: `${url}/prm` })
    }
    for (let n = 0; n < 24; n++) void at(n)
    await expect(at(24)).rejects.toThrow(/too many discoveries/i)
  })
})

/** Discovers with a fresh cache, and a clock that stands still. */
function discoverBy(fetch: GuardedFetch): Discover {
  return createDiscover(fetch, {
    timeout: 10_000,
    clock: () => 0,
    local: true,
    providerOf: () => undefined,
    isTrusted: () => true,
  })
}
