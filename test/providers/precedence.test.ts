import { describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import type { ProviderProfile } from '../../src/providers/provider-profile.js'
import {
  ASM,
  createOAuthContext,
  ensureClientAt,
  expectFailure,
  json,
  metadataOf,
  startRegistry,
  type Registry,
} from '../oauth/support.js'
import { protocol, startFakeProvider, TOKENS, type FakeProvider, type Protocol } from './support.js'

const OWN: Omit<ProviderProfile, 'issuers'> = { name: 'Example' }

async function start(
  profile: Partial<ProviderProfile>,
  metadata: Record<string, unknown> = {},
  oauthConfig: OAuthConfig = {},
  more: readonly ProviderProfile[] = [],
): Promise<Protocol & { as: FakeProvider; mcpUrl: string }> {
  const as = await startFakeProvider((url) => ({
    [ASM]: json(metadataOf(url, metadata)),
    '/register': json({ client_id: 'dcr', token_endpoint_auth_method: 'none' }, 201),
    '/here/register': json({ client_id: 'here', token_endpoint_auth_method: 'none' }, 201),
    '/token': json(TOKENS),
  }))
  const mcp = await as.mcpServer([as.url])
  const own = { ...OWN, issuers: [as.url], ...profile }
  return { ...protocol([...more, own], mcp.url, oauthConfig), as, mcpUrl: mcp.url }
}

const sent = async ({ begin }: Protocol): Promise<URLSearchParams> => (await begin()).url.searchParams

describe('what a profile says', () => {
  it('a fixed resource goes with every request', async () => {
    const { signIn, as } = await start({ resource: 'api://notes' })
    expect(await signIn()).toMatchObject({ resource: 'api://notes' })
    expect(as.authorizations[0]?.get('resource')).toBe('api://notes')
    expect(as.tokenRequests()[0]?.form.get('resource')).toBe('api://notes')
  })

  it('a parameter that is made of the resource is left out where there is none', async () => {
    const authorizationParams = { audience: '{resource}', prompt: 'login' }
    const started = await start({ authorizationParams })
    expect((await sent(started)).get('audience')).toBe(started.mcpUrl)
    const without = await sent(await start({ authorizationParams, resource: false }))
    expect([without.has('audience'), without.has('resource'), without.get('prompt')]).toEqual([
      false,
      false,
      'login',
    ])
  })

  it('the registration endpoint, where the metadata names none', async () => {
    const registrationPath = '/here/register'
    const unnamed = await start({ registrationPath }, { registration_endpoint: undefined })
    expect((await sent(unnamed)).get('client_id')).toBe('here')
    expect((await sent(await start({ registrationPath }))).get('client_id')).toBe('dcr')
  })

  it('where the metadata is; the standard places come after it', async () => {
    const { begin, as } = await start({ metadataPath: '/there' })
    await begin()
    expect(as.asked().slice(0, 2)).toEqual(['GET /there', `GET ${ASM}`])
  })

  it('is not what another profile says: the first one counts', async () => {
    const first = { ...OWN, issuers: ['https://other.example'], resource: 'api://first' }
    const { as, mcpUrl } = await start({})
    const profile = (resource: string): ProviderProfile => ({ ...OWN, issuers: [as.url], resource })
    const both = protocol([first, profile('api://own'), profile('api://built-in')], mcpUrl)
    expect((await sent(both)).get('resource')).toBe('api://own')
  })
})

describe('a server’s own oauthConfig wins over a profile', () => {
  it.each<[string, Partial<ProviderProfile>, OAuthConfig, string, string | null]>([
    ['resource', { resource: false }, { resource: 'https://r.example/' }, 'resource', 'https://r.example/'],
    ['no resource', { resource: 'api://x' }, { resource: false }, 'resource', null],
    ['a parameter', { authorizationParams: { a: '1' } }, { authorizationParams: { a: '2' } }, 'a', '2'],
  ])('%s', async (_name, profile, oauthConfig, parameter, expected) => {
    expect((await sent(await start(profile, {}, oauthConfig))).get(parameter)).toBe(expected)
  })

  it('PKCE', async () => {
    const metadata = { code_challenge_methods_supported: undefined }
    const profile = { allowMissingPkceMetadata: true }
    expect((await sent(await start(profile, metadata))).has('code_challenge')).toBe(true)
    const { begin } = await start(profile, metadata, { dangerouslyAllowMissingPkceMetadata: false })
    await expectFailure(begin(), 'pkce_not_supported')
    const listed = { code_challenge_methods_supported: ['plain'] }
    await expectFailure((await start(profile, listed)).begin(), 'pkce_not_supported')
  })

  it('client authentication; metadata that says how wins too', async () => {
    const profile = { tokenEndpointAuthMethod: 'client_secret_post' } as const
    const app = { clientId: 'by-hand', clientSecret: 's' }
    const silent = { token_endpoint_auth_methods_supported: undefined }
    const isPost = async (...rest: [Record<string, unknown>, OAuthConfig]): Promise<boolean | undefined> => {
      const { signIn, as } = await start(profile, ...rest)
      await signIn()
      return as.tokenRequests()[0]?.form.has('client_secret')
    }
    expect(await isPost(silent, app)).toBe(true)
    expect(await isPost(silent, { ...app, tokenEndpointAuthMethod: 'client_secret_basic' })).toBe(false)
    expect(await isPost({ token_endpoint_auth_methods_supported: ['client_secret_basic'] }, app)).toBe(false)
  })

  it('registration', async () => {
    const profile = { dynamicRegistration: false } as const
    const { begin, as } = await start(profile)
    await expectFailure(begin(), 'registration_endpoint_not_found', 'Example has no')
    expect((await sent(await start(profile, {}, { dynamicRegistration: true }))).get('client_id')).toBe('dcr')
    const registrationUrl = `${as.url}/here/register`
    expect((await sent(await start(profile, {}, { registrationUrl }))).get('client_id')).toBe('here')
  })
})

describe('oauthConfig.dynamicRegistration: false', () => {
  const OFF: OAuthConfig = { dynamicRegistration: false }

  const refused = async (registry: Registry, options: Parameters<Registry['ensure']>[0]): Promise<void> => {
    const failing = registry.ensure(options)
    const { fix } = await expectFailure(failing, 'registration_endpoint_not_found', 'switched off')
    expect(fix).toContain('http://localhost:3000/api/oauth/callback')
    expect(fix).toContain('oauthConfig.clientId')
  }

  it('registers nowhere, also where a registration endpoint is offered', async () => {
    const registry = await startRegistry(json({ client_id: 'c1' }, 201))
    await refused(registry, { oauthConfig: OFF })
    await refused(registry, { oauthConfig: { ...OFF, initialAccessToken: 'a-token' } })
    expect(registry.asked()).toEqual([])
  })

  it('uses no client that was registered before', async () => {
    const registry = await startRegistry(json({ client_id: 'c1' }, 201))
    expect(await registry.ensure()).toMatchObject({ clientId: 'c1' })
    await refused(registry, { oauthConfig: OFF })
    expect(registry.asked()).toEqual(['POST /register'])
  })

  it('leaves a configured client and a client metadata document alone', async () => {
    const context = createOAuthContext({ clientMetadataUrl: 'https://gateway.example/client.json' })
    const metadata = { client_id_metadata_document_supported: true }
    const ensure = (oauthConfig: OAuthConfig): ReturnType<typeof ensureClientAt> =>
      ensureClientAt(context, 'https://as.example', { oauthConfig, metadata })
    expect(await ensure({ ...OFF, clientId: 'by-hand' })).toMatchObject({ clientId: 'by-hand' })
    expect(await ensure(OFF)).toMatchObject({ source: 'metadata_document' })
  })
})
