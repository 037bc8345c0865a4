import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../src/errors.js'
import { providerProfiles } from '../../src/providers/index.js'
import type { ProviderProfile } from '../../src/providers/provider-profile.js'
import type { OAuthConfig } from '../../src/options.js'
import { ASM, CALLBACK, expectFailure, json, metadataOf, OIDC, text, type Reply } from '../oauth/support.js'
import { at, protocol, startFakeProvider, TOKENS, type FakeProvider, type Protocol } from './support.js'

const { atlassian, calCom, cognito, entra, figma, notion, slack, supabase } = providerProfiles
const APP: OAuthConfig = { clientId: 'by-hand', clientSecret: 'the-secret' }
const NO_REGISTRATION = { registration_endpoint: undefined }
const NO_PKCE = { code_challenge_methods_supported: undefined }

interface Behaviour {
  /** The path of the issuer that the MCP server names. */
  path?: string
  /** Where the metadata is, and what it says beside `metadataOf(<origin><path>)`. */
  metadataAt?: string
  metadata?: (url: string) => Record<string, unknown>
  register?: Reply
  token?: Reply
  back?: Record<string, string>
}

async function start(
  profile: ProviderProfile,
  { path = '', metadataAt = ASM, metadata, register, token = json(TOKENS), back }: Behaviour,
  oauthConfig: OAuthConfig | ((url: string) => OAuthConfig) = {},
): Promise<Protocol & { as: FakeProvider }> {
  const as = await startFakeProvider(
    (url) => ({
      [metadataAt]: json({ ...metadataOf(url), issuer: url + path, ...metadata?.(url) }),
      '/token': token,
      ...(register !== undefined && { '/register': register }),
    }),
    back === undefined ? undefined : () => back,
  )
  const mcp = await as.mcpServer([as.url + path], ['read', 'offline_access'])
  const local = {
    ...at(profile, as.url),
    ...(profile.metadataIssuers !== undefined && { metadataIssuers: [as.url] }),
  }
  const own = typeof oauthConfig === 'function' ? oauthConfig(as.url) : oauthConfig
  return { ...protocol(local, mcp.url, own), as }
}

const registered = (client: Record<string, unknown>): Reply => json({ client_id: 'dcr', ...client }, 201)

describe('a provider without registration answers with the steps', () => {
  it.each<[ProviderProfile, Behaviour]>([
    [
      entra,
      { path: '/t/v2.0', metadataAt: '/t/v2.0' + OIDC, metadata: () => ({ ...NO_REGISTRATION, ...NO_PKCE }) },
    ],
    [
      cognito,
      { path: '/pool', metadataAt: '/pool' + OIDC, metadata: () => ({ ...NO_REGISTRATION, ...NO_PKCE }) },
    ],
    [slack, { metadata: () => NO_REGISTRATION }],
    // Somebody's proxy may offer one; it leads to an app that the provider does not know.
    [slack, {}],
  ])('$name', async (profile, behaviour) => {
    const { signIn, as } = await start(profile, behaviour)
    const { message, fix = '' } = await expectFailure(signIn(), 'registration_endpoint_not_found')
    expect(message).toBe(`${profile.name} has no dynamic client registration.`)
    const { steps = [], documentation } = profile.manualRegistration ?? {}
    const lines = fix.split('\n')
    expect(lines).toHaveLength(steps.length + 3)
    expect(fix).toContain(CALLBACK)
    expect(fix).not.toMatch(/[{}]/)
    expect(lines.at(-1)).toContain(documentation)
    expect(as.count('POST', /./)).toBe(0)
  })
})

describe('a client registered by hand signs in', () => {
  it('Microsoft Entra ID: without `resource`, without asking for consent again, and its other issuer is known', async () => {
    const { signIn, as } = await start(
      entra,
      {
        path: '/organizations/v2.0',
        metadataAt: '/organizations/v2.0' + OIDC,
        metadata: (url) => ({
          issuer: `${url}/{tenantid}/v2.0`,
          ...NO_REGISTRATION,
          ...NO_PKCE,
          scopes_supported: ['openid', 'offline_access'],
        }),
        // AADSTS9010010, where there is a resource.
        token: (res, request) =>
          (request.form.has('resource') ? json({ error: 'invalid_target' }, 400) : json(TOKENS))(
            res,
            request,
          ),
      },
      APP,
    )
    expect(await signIn()).toMatchObject({ status: 'connected', accessToken: 'the-token' })
    const [asked] = as.authorizations
    expect([asked?.has('resource'), asked?.get('prompt'), asked?.get('code_challenge_method')]).toEqual([
      false,
      'select_account',
      'S256',
    ])
    expect(as.asked()[0]).toBe(`GET /organizations/v2.0${OIDC}`)
  })

  it.each([
    ['AADSTS9010010: The resource parameter provided in the request doesn’t match', 'oauthConfig.resource'],
    ['AADSTS90094: Admin consent is required.', 'administrator of the tenant'],
  ])('Microsoft Entra ID, refusing: %s', async (error_description, fix) => {
    const behaviour: Behaviour = {
      path: '/t/v2.0',
      metadataAt: '/t/v2.0' + OIDC,
      metadata: () => NO_PKCE,
      back: { error: 'invalid_target', error_description },
    }
    const { signIn } = await start(entra, behaviour, APP)
    const error = await expectFailure(signIn(), 'authorization_failed', 'AADSTS')
    expect(error.fix).toContain(fix)
  })

  it('Amazon Cognito: PKCE that its metadata does not name', async () => {
    const { signIn, as } = await start(
      cognito,
      { path: '/pool', metadataAt: '/pool' + OIDC, metadata: () => ({ ...NO_REGISTRATION, ...NO_PKCE }) },
      APP,
    )
    expect(await signIn()).toMatchObject({ status: 'connected' })
    expect(as.authorizations[0]?.get('code_challenge_method')).toBe('S256')
    expect(as.asked()[0]).toBe(`GET /pool${OIDC}`)
  })

  it('Slack: another issuer in its metadata, scopes, and a token answer with empty members', async () => {
    const slackMcp = await startFakeProvider((url) => ({
      [ASM]: json({
        ...metadataOf('https://slack.com'),
        ...NO_REGISTRATION,
        authorization_endpoint: `${url}/authorize`,
        token_endpoint: `${url}/token`,
      }),
      '/token': json({
        ok: true,
        access_token: 'xoxp-1',
        token_type: 'Bearer',
        scope: '',
        authed_user: { id: 'U1' },
      }),
    }))
    const mcp = await slackMcp.mcpServer([slackMcp.url], ['search:read.public', 'chat:write'])
    const { signIn } = protocol({ ...slack, issuers: [slackMcp.url] }, mcp.url, APP)
    expect(await signIn()).toMatchObject({ accessToken: 'xoxp-1', scope: 'search:read.public chat:write' })
    expect(slackMcp.authorizations[0]?.get('scope')).toBe('search:read.public chat:write')
  })

  it('Slack: a 200 with an error is an error', async () => {
    const { signIn } = await start(slack, { token: json({ ok: false, error: 'invalid_code' }) }, APP)
    await expectFailure(signIn(), 'token_request_failed', 'invalid_code')
  })
})

describe('a provider that registers works by itself', () => {
  it.each<[string, ProviderProfile, Behaviour]>([
    [
      'Notion',
      notion,
      { register: registered({ client_secret: 's', token_endpoint_auth_method: 'client_secret_basic' }) },
    ],
    ['Cal.com, for a gateway on loopback', calCom, { register: registered({}) }],
    [
      'Atlassian, whose metadata drops the tenant’s path',
      atlassian,
      {
        path: '/tenant',
        metadataAt: `${ASM}/tenant`,
        metadata: (url) => ({ issuer: url }),
        register: registered({}),
      },
    ],
    [
      'Figma, for those on its list',
      figma,
      { register: json({ client_id: 'dcr', client_secret: 's' }, 200) },
    ],
    [
      'Supabase, which makes a confidential client of a public one, and answers 201 with a token',
      supabase,
      { register: registered({ client_secret: 's' }), token: json(TOKENS, 201) },
    ],
  ])('%s', async (_name, profile, behaviour) => {
    const { signIn, as } = await start(profile, behaviour)
    expect(await signIn()).toMatchObject({ status: 'connected', clientSource: 'dynamic', clientId: 'dcr' })
    expect(as.count('POST', '/register')).toBe(1)
    // One way of client authentication, never two (Notion refuses that), and the secret where there is one.
    const [sent] = as.tokenRequests()
    const ways = [sent?.authorization !== undefined, sent?.form.has('client_secret')].filter(Boolean)
    expect(ways).toHaveLength(profile === calCom || profile === atlassian ? 0 : 1)
    if (sent?.authorization !== undefined) expect(sent.form.has('client_id')).toBe(false)
  })

  it('Atlassian’s exception is Atlassian’s alone, and not that of a pinned issuer', async () => {
    const behaviour: Behaviour = {
      path: '/tenant',
      metadataAt: `${ASM}/tenant`,
      metadata: (url) => ({ issuer: url }),
      register: registered({}),
    }
    await expectFailure((await start(notion, behaviour)).signIn(), 'issuer_mismatch')
    const { signIn } = await start(atlassian, {
      ...behaviour,
      metadata: () => ({ issuer: 'https://evil.example' }),
    })
    await expectFailure(signIn(), 'issuer_mismatch', 'evil.example')
    const pinned = await start(atlassian, behaviour, (url) => ({ issuer: `${url}/other` }))
    await expectFailure(pinned.signIn(), 'issuer_mismatch')
  })
})

describe('a refused registration says what the provider wants', () => {
  it.each<[string, ProviderProfile, Reply, ErrorCode, RegExp, RegExp]>([
    [
      'Figma: its allow-list',
      figma,
      text('Forbidden', 'text/plain', 403),
      'registration_failed',
      /status 403/,
      /provider allow-list.*mcp-catalog/,
    ],
    [
      'Cal.com: its allow-list of callback hosts',
      calCom,
      json(
        {
          error: 'invalid_request',
          error_description: "Invalid redirect_uri: redirect_uri host 'x.example' is not in the allowed list",
        },
        400,
      ),
      'registration_failed',
      /not in the allowed list/,
      new RegExp(`allow-list of callback hosts.*${CALLBACK}`),
    ],
    [
      'Notion: https or loopback',
      notion,
      json({ error: 'invalid_redirect_uri', error_description: 'redirect URI not allowed' }, 400),
      'invalid_redirect_uri',
      /redirect URI/,
      /https or loopback/,
    ],
    [
      'Supabase: a project that registers nobody',
      supabase,
      json({ message: 'dynamic client registration is disabled' }, 403),
      'registration_failed',
      /status 403/,
      /Allow Dynamic OAuth Apps/,
    ],
  ])('%s', async (_name, profile, register, code, says, fix) => {
    const { signIn, as } = await start(profile, { register })
    expect((await expectFailure(signIn(), code, says)).fix).toMatch(fix)
    expect(as.count('POST', '/register')).toBe(1)
  })

  it('Atlassian: a domain that the organization has not allowed, on the way back', async () => {
    const back = {
      error: 'access_denied',
      error_description: 'Your organization admin must authorize access from a domain to this site',
    }
    const { signIn } = await start(atlassian, { register: registered({}), back })
    const { fix } = await expectFailure(signIn(), 'access_denied')
    expect(fix).toContain(`allow the domain of ${CALLBACK}`)
  })

  it('nothing is added to a failure that passes', async () => {
    const { signIn } = await start(supabase, { register: text('busy', 'text/plain', 503) })
    const { fix } = await expectFailure(signIn(), 'registration_failed', 'status 503')
    expect(fix).toBe('Try again in a moment.')
  })
})
