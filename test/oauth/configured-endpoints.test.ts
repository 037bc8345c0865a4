import { beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import {
  ASM,
  declare,
  discoverOnce,
  expectFailure,
  json,
  metadataOf,
  OIDC,
  PRM,
  startFake,
  status,
  text,
  type FakeServer,
  type Reply,
} from './support.js'

let mcp: FakeServer
let as: FakeServer
let configured: OAuthConfig & { authorizationUrl: string; tokenUrl: string }

beforeEach(async () => {
  ;[mcp, as] = await Promise.all([startFake(), startFake()])
  configured = { authorizationUrl: `${as.url}/t/authorize`, tokenUrl: `${as.url}/t/token` }
})

function names(...issuers: string[]): void {
  mcp.replies[PRM] = json({ resource: mcp.url, authorization_servers: issuers, scopes_supported: ['read'] })
}

const discover = (changes: OAuthConfig = {}): ReturnType<typeof discoverOnce> =>
  discoverOnce(declare(mcp.url, { ...configured, ...changes }))

const endpoints = (): object => ({
  authorization_endpoint: configured.authorizationUrl,
  token_endpoint: configured.tokenUrl,
})

describe('a server whose authorizationUrl and tokenUrl are configured', () => {
  it.each<[string, Reply]>([
    ['no metadata', status(404)],
    ['a web page', text('<!doctype html>', 'text/html')],
    ['metadata without issuer', json({})],
  ])('does without: %s', async (_name, reply) => {
    Object.assign(mcp.replies, { [PRM]: reply })
    Object.assign(as.replies, { [ASM]: reply, [OIDC]: reply })
    expect(await discover()).toEqual({
      resource: mcp.url,
      authorizationServer: { issuer: as.url, ...endpoints() },
    })
    const issuer = `${as.url}/pinned`
    expect((await discover({ issuer })).authorizationServer.issuer).toBe(issuer)
  })

  it('does without metadata that is down where the client is configured too; registration needs it', async () => {
    Object.assign(mcp.replies, { [PRM]: status(503) })
    Object.assign(as.replies, { [ASM]: status(503), [OIDC]: status(503) })
    expect((await discover({ clientId: 'c1' })).authorizationServer).toEqual({
      issuer: as.url,
      ...endpoints(),
    })
    await expectFailure(discover(), 'request_failed', 'status 503')
    as.replies[ASM] = json(metadataOf(as.url))
    expect((await discover()).authorizationServer.registration_endpoint).toBe(`${as.url}/register`)
  })

  it('has the rest from the metadata of that origin; the configured endpoints win', async () => {
    as.replies[ASM] = json(metadataOf(as.url))
    names()
    expect(await discover()).toEqual({
      resource: mcp.url,
      scopesSupported: ['read'],
      authorizationServer: { ...metadataOf(as.url), ...endpoints() },
    })
    const registrationUrl = `${as.url}/t/register`
    expect((await discover({ registrationUrl })).authorizationServer).toMatchObject({
      ...endpoints(),
      registration_endpoint: registrationUrl,
    })
  })

  it('has it from the issuer that the resource names on the same origin, and asks no other', async () => {
    const other = await startFake()
    names(other.url, `${as.url}/t`)
    as.replies[`${ASM}/t`] = json(metadataOf(`${as.url}/t`))
    expect((await discover()).authorizationServer).toMatchObject({ issuer: `${as.url}/t`, ...endpoints() })
    expect([as.asked(), other.asked()]).toEqual([[`GET ${ASM}/t`], []])
  })

  it('asks three of those at most', async () => {
    names(...Array.from({ length: 10 }, (_, i) => `${as.url}/t${i}`))
    await discover()
    const issuers = as.asked().filter((line) => line.startsWith(`GET ${ASM}`))
    expect(issuers).toEqual(['/t0', '/t1', '/t2', ''].map((path) => `GET ${ASM}${path}`))
  })

  it.each([
    ['of another issuer', { issuer: 'https://as.example' }, 'issuer_mismatch'],
    ['without PKCE', { code_challenge_methods_supported: undefined }, 'pkce_not_supported'],
    ['with an endpoint that is no https URL', { registration_endpoint: 'http://as.example' }, 'insecure_url'],
  ] as const)(
    'is an error where there is metadata that must not be used: %s',
    async (_name, changes, code) => {
      as.replies[ASM] = json(metadataOf(as.url, changes))
      await expectFailure(discover(), code)
    },
  )

  it('does without the metadata of another tenant where the issuer is pinned', async () => {
    as.replies[ASM] = json(metadataOf(as.url))
    const issuer = `${as.url}/t`
    expect((await discover({ issuer })).authorizationServer).toEqual({ issuer, ...endpoints() })
    as.replies[`${ASM}/t`] = json(metadataOf(as.url))
    await expectFailure(discover({ issuer }), 'issuer_mismatch')
    as.replies[`${ASM}/t`] = json(metadataOf(issuer))
    expect((await discover({ issuer })).authorizationServer.registration_endpoint).toBe(`${issuer}/register`)
  })
})

describe('a server of which one endpoint is configured', () => {
  it('has the others from its metadata', async () => {
    names(as.url)
    as.replies[ASM] = json(metadataOf(as.url))
    const { authorizationServer } = await discoverOnce(declare(mcp.url, { tokenUrl: configured.tokenUrl }))
    expect(authorizationServer).toEqual({ ...metadataOf(as.url), token_endpoint: configured.tokenUrl })
  })

  it('may be a server of 2025-03-26', async () => {
    const { authorizationServer } = await discoverOnce(
      declare(mcp.url, { registrationUrl: 'https://as.example/r' }),
    )
    expect(authorizationServer).toMatchObject({
      issuer: mcp.url,
      token_endpoint: `${mcp.url}/token`,
      registration_endpoint: 'https://as.example/r',
    })
  })
})
