import { describe, expect, it } from 'vitest'
import { prepareAuthorization, startAuthorization } from '../../src/oauth/authorize.js'
import { ensureClient } from '../../src/oauth/ensure-client.js'
import { register } from '../../src/oauth/register.js'
import type { OAuthConfig } from '../../src/options.js'
import { startWorld } from '../support/gateway.js'
import {
  ASM,
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  discoveredAt,
  ensureClientAt,
  expectFailure,
  json,
  metadataOf,
  PRM,
  registrationsOf,
  startFake,
  type EnsureOptions,
  type FakeServer,
} from './support.js'

const startOpenRegistry = (): Promise<FakeServer> =>
  startFake({ '/register': json({ client_id: 'c1', token_endpoint_auth_method: 'none' }, 201) })

/** What was posted, and how. */
async function posted(
  options: EnsureOptions = {},
): Promise<{ body: Record<string, unknown>; headers: Record<string, unknown> }> {
  const registry = await startOpenRegistry()
  await ensureClientAt(createOAuthContext(), registry.url, options)
  expect(registry.asked()).toEqual(['POST /register'])
  const [{ body = '', headers = {} } = {}] = registry.requests
  return { body: JSON.parse(body), headers }
}

describe('the registration request (RFC 7591 §3.1, SPEC 17)', () => {
  it('of a gateway on loopback is this, and nothing else (FIELD-NOTES 15)', async () => {
    const { body, headers } = await posted()
    expect(body).toEqual({
      client_name: 'Test Gateway',
      application_type: 'native',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    })
    expect(headers).toMatchObject({ 'content-type': 'application/json', accept: 'application/json' })
    expect(headers).not.toHaveProperty('authorization')
  })

  it('of a public gateway, with everything configured, is this', async () => {
    const { body, headers } = await posted({
      baseUrl: 'https://gateway.example/base',
      scope: 'read write',
      oauthConfig: {
        initialAccessToken: 'the-initial-token',
        softwareStatement: 'e30.e30.sig',
        tokenEndpointAuthMethod: 'client_secret_post',
        clientMetadata: {
          client_name: 'Notes at Example',
          contacts: ['a@example.com'],
          tos_uri: 'https://x/',
        },
      },
    })
    expect(body).toEqual({
      client_name: 'Notes at Example',
      contacts: ['a@example.com'],
      tos_uri: 'https://x/',
      application_type: 'web',
      redirect_uris: ['https://gateway.example/base/api/oauth/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
      scope: 'read write',
      software_statement: 'e30.e30.sig',
    })
    expect(headers).toMatchObject({ authorization: 'Bearer the-initial-token' })
  })

  it.each([
    ['http://localhost:3000', 'native'],
    ['http://127.0.0.1:3000', 'native'],
    ['http://[::1]:3000', 'native'],
    ['https://localhost.example', 'web'],
    ['https://gateway.example', 'web'],
  ])('from %s has application_type %s', async (baseUrl, type) => {
    expect((await posted({ baseUrl })).body).toMatchObject({
      application_type: type,
      redirect_uris: [`${baseUrl}/api/oauth/callback`],
    })
  })

  it.each([
    [['none', 'client_secret_basic', 'client_secret_post'], 'none'],
    [['client_secret_post', 'client_secret_basic'], 'client_secret_basic'],
    [['client_secret_post', 'private_key_jwt'], 'client_secret_post'],
    [['private_key_jwt'], 'client_secret_basic'],
    [undefined, 'client_secret_basic'],
  ])('where %o are supported asks for %s', async (supported, method) => {
    const { body } = await posted({ metadata: { token_endpoint_auth_methods_supported: supported } })
    expect(body).toMatchObject({ token_endpoint_auth_method: method })
  })

  it.each<
    [string, { challenge?: string; resource?: string[]; issuer?: string[] }, OAuthConfig, string | undefined]
  >([
    ['the challenge’s', { challenge: 'a b', resource: ['c'] }, { scopes: 'd' }, 'a b'],
    ['the resource’s', { resource: ['c', 'e'], issuer: ['x', 'y'] }, { scopes: 'd' }, 'c e'],
    ['the configured', {}, { scopes: 'd' }, 'd'],
    ['none', { issuer: ['x', 'y'] }, {}, undefined],
    ['offline_access too', { resource: ['c'], issuer: ['offline_access'] }, {}, 'c offline_access'],
    [
      'not offline_access where the configuration leaves it out',
      { resource: ['c'], issuer: ['offline_access'] },
      { offlineAccess: false },
      'c',
    ],
    ['not offline_access alone', { issuer: ['offline_access'] }, {}, undefined],
  ])(
    'has the same scope as the authorization request: %s (FIELD-NOTES 16)',
    async (_name, given, oauthConfig, scope) => {
      const registry = await startOpenRegistry()
      const { url } = registry
      registry.replies[PRM] = json({
        resource: url,
        authorization_servers: [url],
        scopes_supported: given.resource,
      })
      registry.replies[ASM] = json(metadataOf(url, { scopes_supported: given.issuer }))
      const context = createOAuthContext()
      const request = {
        server: declare(url, oauthConfig),
        user: 'ann',
        baseUrl: BASE_URL,
        challenge: given.challenge === undefined ? undefined : { scope: given.challenge },
        stepUp: undefined,
        returnTo: undefined,
      }
      const prepared = await prepareAuthorization(context, request, { fresh: false })
      const { url: authorization } = await startAuthorization(context, request, prepared)
      expect(JSON.parse(registry.requests.at(-1)?.body ?? '').scope).toBe(scope)
      expect(authorization.searchParams.get('scope')).toBe(scope ?? null)
    },
  )

  it('has at a step-up what was asked for before, of the same issuer alone (SPEC 39)', async () => {
    const registry = await startOpenRegistry()
    registry.replies[ASM] = json(metadataOf(registry.url))
    const scopeAfter = async (issuer: string): Promise<string | undefined> => {
      const { authorizationServer } = discoveredAt(issuer)
      const request = {
        server: declare(registry.url),
        user: 'ann',
        baseUrl: BASE_URL,
        challenge: { scope: 'write' },
        stepUp: { requestedScope: 'read', authorizationServer },
        returnTo: undefined,
      }
      return (await prepareAuthorization(createOAuthContext(), request, { fresh: false })).scope
    }
    expect(await scopeAfter(registry.url)).toBe('read write')
    expect(await scopeAfter('https://former.example')).toBe('write')
  })

  it.each([
    ['a part of it', 'read', 'read'],
    ['a part of it, as a list', ['read', 'other'], 'read'],
    ['all of it', 'write read', 'read write'],
    ['another one altogether', 'profile', 'read write'],
    ['nothing', undefined, 'read write'],
  ])('is asked for as the server registered it: %s (SPEC 18)', async (_name, registered, asked) => {
    const registry = await startOpenRegistry()
    registry.replies[ASM] = json(metadataOf(registry.url))
    registry.replies['/register'] = json(
      { client_id: 'c1', token_endpoint_auth_method: 'none', scope: registered },
      201,
    )
    const context = createOAuthContext()
    const request = {
      server: declare(registry.url),
      user: 'ann',
      baseUrl: BASE_URL,
      challenge: { scope: 'read write' },
      stepUp: undefined,
      returnTo: undefined,
    }
    for (let time = 0; time < 2; time++) {
      const prepared = await prepareAuthorization(context, request, { fresh: false })
      const { url, flow } = await startAuthorization(context, request, prepared)
      expect(url.searchParams.get('scope')).toBe(asked)
      expect(flow.requestedScope ?? flow.scope).toBe('read write')
    }
    expect(registry.count('POST', '/register')).toBe(1)
  })

  it('is bounded by the timeout option alone', async () => {
    const signals: unknown[] = []
    const { authorizationServer } = discoveredAt('https://as.example')
    await register(
      {
        server: declare('https://mcp.example'),
        authorizationServer,
        redirectUri: CALLBACK,
        metadata: { redirect_uris: [CALLBACK] },
        initialAccessToken: undefined,
      },
      async (_url, init) => {
        signals.push(init?.signal ?? undefined)
        return Response.json({ client_id: 'c1' }, { status: 201 })
      },
      'public',
    )
    // openid-client’s own limit of 30 seconds would cut a longer one short.
    expect(signals).toEqual([undefined])
  })
})

describe('the initial access token (RFC 7591 §3)', () => {
  it.each([
    ['a string', 'the-token'],
    ['a function', () => 'the-token'],
    ['an async function', async () => 'the-token'],
  ])('may be %s', async (_name, initialAccessToken) => {
    const { headers } = await posted({ oauthConfig: { initialAccessToken } })
    expect(headers).toMatchObject({ authorization: 'Bearer the-token' })
  })

  it.each<[string, () => unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('vault is sealed')
      },
      /function failed/,
    ],
    ['rejects', () => Promise.reject(new Error('vault is sealed')), /function failed/],
    ['returns nothing', () => undefined, /not a token/],
    ['returns an empty string', () => '', /not a token/],
    ['returns two lines', () => 's3cret\r\nx-evil: 1', /not a token/],
    ['returns an object', () => ({ token: 's3cret' }), /not a token/],
    ['does not come', () => new Promise(() => undefined), /failed/],
  ])('that %s is an error; nothing is posted, no marker stays', async (_name, initialAccessToken, says) => {
    const registry = await startOpenRegistry()
    const context = createOAuthContext({ timeout: 200 })
    const oauthConfig = { initialAccessToken: initialAccessToken as () => string }
    const failing = ensureClientAt(context, registry.url, { oauthConfig })
    const error = await expectFailure(failing, 'registration_failed', says, ['s3cret'])
    expect(error.fix).toContain('initialAccessToken')
    expect([registry.asked(), await registrationsOf(context)]).toEqual([[], []])
  })
})

describe('which client is used (SPEC 15)', () => {
  const everything = { client_id_metadata_document_supported: true }

  it.each<[string, EnsureOptions, object]>([
    [
      'configured by hand',
      { oauthConfig: { clientId: 'mine', clientSecret: 's' }, metadata: everything },
      {
        source: 'static',
        clientId: 'mine',
        clientSecret: 's',
        tokenEndpointAuthMethod: 'client_secret_basic',
      },
    ],
    [
      'configured by hand, without secret',
      { oauthConfig: { clientId: 'mine' } },
      { source: 'static', clientId: 'mine', tokenEndpointAuthMethod: 'none' },
    ],
    [
      'configured by hand, by what the server supports',
      {
        oauthConfig: { clientId: 'mine', clientSecret: 's' },
        metadata: { token_endpoint_auth_methods_supported: ['client_secret_post'] },
      },
      {
        source: 'static',
        clientId: 'mine',
        clientSecret: 's',
        tokenEndpointAuthMethod: 'client_secret_post',
      },
    ],
    [
      'the metadata document, of a public gateway',
      { metadata: everything, baseUrl: 'https://gateway.example' },
      {
        source: 'metadata_document',
        clientId: 'https://gateway.example/api/oauth/client.json',
        tokenEndpointAuthMethod: 'none',
      },
    ],
  ])('%s: nothing is registered', async (_name, options, client) => {
    const registry = await startOpenRegistry()
    const context = createOAuthContext()
    expect(await ensureClientAt(context, registry.url, options)).toEqual(client)
    expect([registry.asked(), await registrationsOf(context)]).toEqual([[], []])
  })

  it('a registered one, where the document could not be fetched from loopback', async () => {
    const registry = await startOpenRegistry()
    const options = { metadata: everything }
    expect(await ensureClientAt(createOAuthContext(), registry.url, options)).toMatchObject({
      source: 'dynamic',
      clientId: 'c1',
    })
  })

  it('none, where nothing is offered: the error has the callback URL and the fields to set', async () => {
    const context = createOAuthContext()
    const failing = ensureClientAt(context, 'http://localhost:1', {
      metadata: { registration_endpoint: undefined },
    })
    const error = await expectFailure(failing, 'registration_endpoint_not_found', 'http://localhost:1')
    for (const part of [CALLBACK, 'oauthConfig.clientId', 'oauthConfig.clientSecret', '"notes"'])
      expect(error.fix).toContain(part)
    expect(await registrationsOf(context)).toEqual([])
  })
})

describe('registration at oidc-provider', () => {
  it('works with its initial access token, and fails without', async () => {
    const world = await startWorld({ authorizationServer: { initialAccessToken: 'gate-token' } })
    try {
      const context = createOAuthContext()
      const request = async (oauthConfig: OAuthConfig): ReturnType<typeof ensureClient> => {
        const server = declare(world.mcpServer.url, oauthConfig)
        const discovered = await context.discover(server, undefined)
        return ensureClient(context, { server, discovered, scope: 'mcp:read', baseUrl: BASE_URL })
      }
      await expectFailure(request({ initialAccessToken: 'wrong' }), 'registration_failed', '401', ['wrong'])
      expect(world.authorizationServer.registrations()).toBe(0)
      const client = await request({ initialAccessToken: 'gate-token' })
      expect([client.source, world.authorizationServer.registrations()]).toEqual(['dynamic', 1])
      const [{ registrationAccessToken, registrationClientUri } = {}] = await registrationsOf(context)
      const read = await fetch(registrationClientUri ?? '', {
        headers: { authorization: `Bearer ${registrationAccessToken}` },
      })
      expect(await read.json()).toMatchObject({ client_id: client.clientId, application_type: 'native' })
    } finally {
      await world.close()
    }
  })
})
