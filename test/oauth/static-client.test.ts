import { beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import {
  ASM,
  createOAuthContext,
  declare,
  discoverOnce,
  ensureClientAt,
  expectFailure,
  json,
  metadataOf,
  PRM,
  startFake,
  type FakeServer,
  type TestContext,
} from './support.js'

const BY_HAND = { clientId: 'by-hand', clientSecret: 'hush-of-the-operator' }

describe('a configured client belongs to one issuer (SPEC 21)', () => {
  let context: TestContext
  beforeEach(() => void (context = createOAuthContext()))

  /** Asks for the client of one MCP server, at the issuer that it names. */
  const ensureAt = (issuer: string, oauthConfig: OAuthConfig = BY_HAND): ReturnType<typeof ensureClientAt> =>
    ensureClientAt(context, 'https://one.example', { oauthConfig, metadata: { issuer } })

  it('the first that its MCP server names', async () => {
    expect(await ensureAt('https://one.example')).toMatchObject({ clientId: 'by-hand' })
    expect(await ensureAt('https://one.example')).toMatchObject({ clientId: 'by-hand' })
    const error = await expectFailure(ensureAt('https://evil.example'), 'issuer_mismatch', 'evil.example', [
      'hush',
    ])
    expect(error.fix).toContain('oauthConfig.issuer')
    expect(await ensureAt('https://one.example')).toMatchObject({ clientId: 'by-hand' })
  })

  it('also where both are asked for at the same time', async () => {
    const outcomes = await Promise.allSettled([
      ensureAt('https://one.example'),
      ensureAt('https://evil.example'),
    ])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it('the configured one, once that is set', async () => {
    await ensureAt('https://one.example')
    const pinned = { ...BY_HAND, issuer: 'https://two.example' }
    expect(await ensureAt('https://two.example', pinned)).toMatchObject({ clientId: 'by-hand' })
  })

  it('that of the configured endpoints', async () => {
    const endpoints = {
      ...BY_HAND,
      authorizationUrl: 'https://one.example/authorize',
      tokenUrl: 'https://one.example/token',
    }
    await ensureAt('https://one.example', endpoints)
    // Its secret goes to the configured token endpoint, whatever the issuer is called.
    expect(await ensureAt('https://two.example', endpoints)).toMatchObject({ clientId: 'by-hand' })
  })

  it('another client id is another client', async () => {
    await ensureAt('https://one.example')
    expect(await ensureAt('https://two.example', { clientId: 'second' })).toMatchObject({
      clientId: 'second',
    })
  })
})

describe('a pinned issuer', () => {
  let mcp: FakeServer
  let evil: FakeServer
  let provider: FakeServer

  beforeEach(async () => {
    ;[mcp, evil, provider] = await Promise.all([startFake(), startFake(), startFake()])
    mcp.replies[PRM] = json({ resource: mcp.url, authorization_servers: [evil.url] })
  })

  const discover = (): ReturnType<typeof discoverOnce> =>
    discoverOnce(declare(mcp.url, { ...BY_HAND, issuer: provider.url }))

  it('is not believed of a document elsewhere whose endpoints are elsewhere too', async () => {
    evil.replies[ASM] = json({ ...metadataOf(evil.url), issuer: provider.url })
    const error = await expectFailure(discover(), 'issuer_mismatch', 'endpoints elsewhere')
    expect(error.fix).toContain('oauthConfig.tokenUrl')
  })

  it.each(['authorization_endpoint', 'token_endpoint', 'registration_endpoint'])(
    'is not believed where the %s alone is elsewhere',
    async (endpoint) => {
      evil.replies[ASM] = json(metadataOf(provider.url, { [endpoint]: `${evil.url}/x` }))
      await expectFailure(discover(), 'issuer_mismatch')
    },
  )

  it('is believed of a document elsewhere that leads to it', async () => {
    evil.replies[ASM] = json(metadataOf(provider.url))
    expect((await discover()).authorizationServer).toEqual(metadataOf(provider.url))
  })
})
