import { beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import { refresh } from '../../src/oauth/refresh.js'
import { connectionKey } from '../../src/store/records.js'
import { connectionBy, startIssuer } from './issuer.js'
import {
  ANSWER,
  ASM,
  createOAuthContext,
  declare,
  discoverOnce,
  expectFailure,
  flowAt,
  json,
  metadataOf,
  PRM,
  startFake,
  type FakeServer,
} from './support.js'

let mcp: FakeServer
let as: FakeServer
let other: FakeServer

beforeEach(async () => {
  ;[mcp, as, other] = await Promise.all([startFake(), startFake(), startFake()])
  for (const it of [as, other]) it.replies[ASM] = json(metadataOf(it.url))
  names([as.url])
})

function names(issuers: readonly string[]): void {
  mcp.replies[PRM] = json({ resource: mcp.url, authorization_servers: issuers })
}

function issuerOf(trust: string[] | undefined, oauthConfig: OAuthConfig = {}): Promise<string> {
  const server = declare(`${mcp.url}/`, oauthConfig)
  return discoverOnce(server, undefined, { trust }).then(
    ({ authorizationServer }) => authorizationServer.issuer,
  )
}

describe('an issuer that the trust option does not list', () => {
  it('is not asked for its metadata, and the error says what to add', async () => {
    const error = await expectFailure(issuerOf([other.url]), 'issuer_not_trusted', as.url)
    expect(error.fix).toContain('trust')
    expect(as.asked()).toEqual([])
  })

  it.each<[string, () => OAuthConfig]>([
    ['by its endpoints', () => ({ authorizationUrl: `${as.url}/authorize`, tokenUrl: `${as.url}/token` })],
    ['by its identifier', () => ({ issuer: as.url })],
  ])('is not made one by configuring it %s', async (_, oauthConfig) => {
    await expectFailure(issuerOf([other.url], oauthConfig()), 'issuer_not_trusted', as.url)
    expect(as.asked()).toEqual([])
  })

  it('is not that of a server without resource metadata either', async () => {
    delete mcp.replies[PRM]
    await expectFailure(issuerOf([other.url]), 'issuer_not_trusted', mcp.url)
  })

  it('is passed over for one that it lists, however far behind', async () => {
    names([...['a', 'b', 'c', 'd'].map((name) => `https://${name}.example`), as.url, other.url])
    expect(await issuerOf([other.url])).toBe(other.url)
    expect(as.asked()).toEqual([])
  })

  it('is not one that the metadata of a listed one names, though its provider is known to name another', async () => {
    as.replies[ASM] = json(metadataOf(as.url, { issuer: 'https://sign-in.example' }))
    const providers = [
      { name: 'p', issuers: [new URL(as.url).origin], metadataIssuers: ['https://sign-in.example'] },
    ]
    const found = (trust: string[]) =>
      discoverOnce(declare(`${mcp.url}/`), undefined, { trust, providers }).then(
        ({ authorizationServer }) => authorizationServer.issuer,
      )
    await expectFailure(found([as.url]), 'issuer_not_trusted', 'https://sign-in.example')
    expect(await found([as.url, 'https://sign-in.example'])).toBe('https://sign-in.example')
  })

  it('is not that of an undeclared upstream', async () => {
    const challenge = { resourceMetadata: `${mcp.url}${PRM}` }
    const discovered = discoverOnce(undefined, challenge, { trust: [other.url] })
    await expect(discovered).rejects.toMatchObject({ code: 'issuer_not_trusted' })
    expect(as.asked()).toEqual([])
  })
})

describe('an issuer that it lists', () => {
  it.each<[string, () => string[] | undefined]>([
    ['by its identifier', () => [other.url, as.url]],
    ['by its origin', () => [`${as.url}/`]],
    ['not at all, where there is no list', () => undefined],
  ])('%s is used', async (_, trust) => {
    expect(await issuerOf(trust())).toBe(as.url)
  })

  it('is the pinned one, wherever its metadata is', async () => {
    as.replies[ASM] = json(
      metadataOf(other.url, { issuer: other.url, registration_endpoint: `${other.url}/register` }),
    )
    expect(await issuerOf([other.url], { issuer: other.url })).toBe(other.url)
  })

  it('may have a path: another of the same origin is another', async () => {
    const tenants = ['/a', '/b'].map((path) => as.url + path)
    for (const issuer of tenants) as.replies[`${ASM}${new URL(issuer).pathname}`] = json(metadataOf(issuer))
    names(tenants)
    expect(await issuerOf([`${as.url}/b`])).toBe(`${as.url}/b`)
  })
})

describe('where the list has become shorter', () => {
  it('a connection is not refreshed, and not lost', async () => {
    const issuer = await startIssuer()
    const context = createOAuthContext({ trust: [other.url] })
    const held = connectionBy(issuer, 'c1')
    const key = connectionKey('ann', 'notes')
    await context.records.connections.save(key, undefined, held)
    await expectFailure(refresh(context, declare(held.serverUrl), held), 'issuer_not_trusted', issuer.url)
    expect(issuer.asked()).toEqual([])
    expect((await context.records.connections.get(key))?.value).toMatchObject({
      status: 'connected',
      refreshToken: 'hush-rt1',
    })
  })

  it('a sign-in under way is not finished', async () => {
    const context = createOAuthContext({ trust: [other.url] })
    const server = declare(`${mcp.url}/mcp`, { clientId: 'client-1' })
    const finished = finishAuthorization(context, server, flowAt(as.url, server), ANSWER)
    await expectFailure(finished, 'issuer_not_trusted', as.url)
    expect(as.asked()).toEqual([])
  })
})
