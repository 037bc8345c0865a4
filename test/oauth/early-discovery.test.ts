import { setImmediate } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/model.js'
import { createDiscover, type Discover } from '../../src/oauth/discover.js'
import {
  ASM,
  createOAuthContext,
  declare,
  gate,
  HANG_UP,
  json,
  PRM,
  startFake,
  startOwnIssuer,
  status,
  type FakeServer,
  type Reply,
} from './support.js'

// A discovery whose first request is made before the challenge is there that asks for it.

let fake: FakeServer
let server: Server
let discover: Discover
let pass: (ms: number) => void
/** The paths of the requests that were made, in order. */
let asked: string[]
/** The last of them. */
let last: Promise<Response>

beforeEach(async () => {
  fake = await startOwnIssuer()
  server = declare(fake.url)
  asked = []
  const context = createOAuthContext()
  pass = context.pass
  discover = createDiscover(
    async (url, ...rest) => {
      asked.push(new URL(url).pathname)
      last = context.fetch(url, ...rest)
      return last
    },
    { ...context, local: true },
  )
})

describe('the resource metadata of a server that is expected to challenge', () => {
  it.each([
    ['names it', () => ({ resourceMetadata: fake.url + PRM })],
    ['names none', () => undefined],
  ])('is asked for at once, and not again where the challenge %s', async (_what, challenge) => {
    discover.expect(server)
    expect(asked).toEqual([PRM])
    const { authorizationServer } = await discover(server, challenge())
    expect(authorizationServer.issuer).toBe(fake.url)
    expect(asked).toEqual([PRM, ASM])
  })

  it('is waited for where it has not come yet', async () => {
    const held = gate()
    const answer = fake.replies[PRM]
    fake.replies[PRM] = (res, request) => void held.opened.then(() => answer?.(res, request))
    discover.expect(server)
    const found = discover(server, undefined)
    held.open()
    expect((await found).authorizationServer.issuer).toBe(fake.url)
    expect(asked).toEqual([PRM, ASM])
  })

  it('is left where the challenge names another URL (RFC 9728 §5.1)', async () => {
    fake.replies[PRM] = status(404)
    discover.expect(server)
    await discover(server, { resourceMetadata: `${fake.url}/prm` })
    expect(asked).toEqual([PRM, '/prm', ASM])
  })

  it.each([
    ['is used for a challenge that comes within ten seconds', 9_999, [PRM, ASM]],
    ['is asked for anew where the challenge comes later', 10_000, [PRM, PRM, ASM]],
  ])('%s', async (_what, ms, requests) => {
    discover.expect(server)
    pass(ms)
    await discover(server, undefined)
    expect(asked).toEqual(requests)
  })

  it('is asked for anew after a token was rejected: the server may have moved (RFC 9728 §5.2)', async () => {
    discover.expect(server)
    await discover(server, undefined, { fresh: true })
    expect(asked).toEqual([PRM, PRM, ASM])
  })

  it('is used for one discovery', async () => {
    discover.expect(server)
    await discover(server, undefined)
    await discover(server, { resourceMetadata: fake.url + PRM })
    expect(asked).toEqual([PRM, ASM, PRM, ASM])
  })

  it('is asked for once in five minutes, where the server never challenges', () => {
    discover.expect(server)
    pass(299_999)
    discover.expect(server)
    expect(asked).toEqual([PRM])
    pass(1)
    discover.expect(server)
    expect(asked).toEqual([PRM, PRM])
  })

  it('is not asked for where a discovery is known, whatever metadata that was made by', async () => {
    await discover(server, { resourceMetadata: `${fake.url}/prm` })
    pass(299_999)
    discover.expect(server)
    expect(asked).toEqual(['/prm', ASM])
    pass(1)
    discover.expect(server)
    expect(asked).toEqual(['/prm', ASM, PRM])
  })

  it('is asked for beside another server’s, and is that server’s own', async () => {
    const other = await startFake((url) => ({
      [PRM]: json({ resource: url, authorization_servers: [fake.url] }),
    }))
    await discover(declare(other.url, {}, 'other'), undefined)
    asked.length = 0
    discover.expect(server)
    expect(asked).toEqual([PRM])
    expect((await discover(server, undefined)).resource).toBe(fake.url)
    expect(asked).toEqual([PRM, ASM])
  })

  it('is not there: discovery goes by that', async () => {
    fake.replies[PRM] = status(404)
    discover.expect(server)
    await discover(server, undefined)
    expect(asked).toEqual([PRM, ASM])
  })

  it.each<[string, Reply]>([
    ['hangs up', HANG_UP],
    ['is busy', status(429)],
    ['is starting', status(503)],
  ])('is asked for again by the discovery where the server %s at first', async (_what, reply) => {
    const answer = fake.replies[PRM]
    fake.replies[PRM] = reply
    discover.expect(server)
    await last.catch(() => undefined)
    fake.replies[PRM] = answer ?? reply
    expect((await discover(server, { resourceMetadata: fake.url + PRM })).resource).toBe(fake.url)
    expect(asked).toEqual([PRM, PRM, ASM])
  })

  it('cannot be had, and nobody wants it: nothing comes of that', async () => {
    fake.replies[PRM] = HANG_UP
    discover.expect(server)
    await expect(last).rejects.toThrow('could not be reached')
    // A rejection that nobody handles shows by then, and fails the run.
    await setImmediate()
  })
})
