import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dynamicClient } from '../../src/oauth/dynamic-client.js'
import type { ClientRequest } from '../../src/oauth/ensure-client.js'
import { recallClient } from '../../src/oauth/ensure-client.js'
import type { OAuthConfig } from '../../src/options.js'
import type { Discovered, OAuthClient } from '../../src/model.js'
import { createRegistrations } from '../../src/registrations.js'
import { startWorld, type World } from '../support/gateway.js'
import {
  ASM,
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  discoveredAt,
  HANG_UP,
  json,
  metadataOf,
  registrationsOf,
  startFake,
  status,
  text,
  type FakeServer,
  type Reply,
  type TestContext,
} from './support.js'

describe('a registration at oidc-provider', () => {
  let world: World
  let context: TestContext
  let discovered: Discovered

  beforeEach(async () => {
    world = await startWorld({ authorizationServer: { scopes: ['read', 'write'] } })
    context = createOAuthContext()
    discovered = await context.discover(declare(world.mcpServer.url), undefined)
  })
  afterEach(() => world.close())

  function ensure(
    changes: Partial<ClientRequest> & { oauthConfig?: OAuthConfig } = {},
  ): Promise<OAuthClient> {
    const { oauthConfig = {}, ...request } = changes
    const server = declare(world.mcpServer.url, oauthConfig)
    return dynamicClient(context, { server, discovered, scope: 'read', baseUrl: BASE_URL, ...request })
  }

  /** What the authorization server holds of a client. */
  async function held(clientId: string): Promise<Record<string, unknown>> {
    const client = await world.authorizationServer.provider.Client.find(clientId)
    return client?.metadata() ?? {}
  }

  it('is replaced where the redirect URI has changed (FIELD-NOTES 4), and recalled by what was begun before', async () => {
    const first = await ensure()
    const second = await ensure({ baseUrl: 'http://localhost:3999' })
    expect(second.clientId).toBe(first.clientId)
    expect((await held(first.clientId)).redirect_uris).toEqual(['http://localhost:3999/api/oauth/callback'])
    expect((await registrationsOf(context)).map(({ redirectUri }) => redirectUri)).toEqual([
      'http://localhost:3999/api/oauth/callback',
    ])
    const { authorizationServer } = discovered
    const before = {
      clientSource: 'dynamic',
      clientId: first.clientId,
      redirectUri: CALLBACK,
      authorizationServer,
    } as const
    expect(await recallClient(context, declare(world.mcpServer.url), before)).toEqual(first)
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('is replaced where more scope, or other client metadata, is wanted; each time with the newest token', async () => {
    const first = await ensure()
    await ensure({ scope: 'write' })
    expect((await held(first.clientId)).scope).toBe('read write')
    await ensure({ oauthConfig: { clientMetadata: { client_name: 'Renamed' } } })
    expect(await held(first.clientId)).toMatchObject({ client_name: 'Renamed', scope: 'read write' })
    await ensure({ oauthConfig: { clientMetadata: { client_name: 'Renamed' } } })
    const [registration] = await registrationsOf(context)
    expect(registration).toMatchObject({ clientId: first.clientId, scope: 'read write' })
    expect(world.authorizationServer.count('PUT', /^\/reg\//)).toBe(2)
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('is made again where the issuer has dropped it, without a trace of the former', async () => {
    const first = await ensure()
    world.authorizationServer.forgetClient(first.clientId)
    const second = await ensure({ scope: 'write' })
    expect(second.clientId).not.toBe(first.clientId)
    expect((await registrationsOf(context)).map(({ clientId }) => clientId)).toEqual([second.clientId])
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('stays in use where the scope that is wanted is unknown to the issuer', async () => {
    const first = await ensure()
    await expect(ensure({ scope: 'unknown' })).rejects.toMatchObject({ code: 'invalid_client_metadata' })
    expect(await ensure({ scope: 'read' })).toEqual(first)
    expect(world.authorizationServer.registrations()).toBe(1)
  })
})

describe('a registration whose issuer offers management', () => {
  let as: FakeServer
  let context: TestContext
  let registered: Record<string, unknown>

  beforeEach(async () => {
    as = await startFake()
    context = createOAuthContext()
    registered = {
      client_id: 'c1',
      token_endpoint_auth_method: 'none',
      registration_access_token: 'hush-1',
      registration_client_uri: `${as.url}/register/c1`,
    }
    as.replies['/register'] = (res, request) => json(registered, 201)(res, request)
  })

  const ensure = (scope = 'read', oauthConfig: OAuthConfig = {}): Promise<OAuthClient> =>
    dynamicClient(context, {
      server: declare(`${as.url}/mcp`, oauthConfig),
      discovered: discoveredAt(as.url),
      scope,
      baseUrl: BASE_URL,
    })

  /** Answers GET and PUT of the registration. */
  function manage(get: Reply, put: Reply): void {
    as.replies['/register/c1'] = (res, request) => (request.method === 'GET' ? get : put)(res, request)
  }

  const asked = (): string[] => as.asked().filter((line) => line !== 'POST /register')
  const sent = (): unknown => JSON.parse(as.requests.at(-1)?.body ?? '')

  it('sends a full replacement: what the server said last, the changes, client_id, nothing that must not be sent', async () => {
    await ensure()
    manage(
      json({
        ...registered,
        client_secret: 'hush-2',
        client_id_issued_at: 1,
        logo_uri: 'https://as.example/logo',
        scope: 'read',
      }),
      json({ ...registered, registration_access_token: 'hush-3' }),
    )
    await ensure('write')
    expect(asked()).toEqual(['GET /register/c1', 'PUT /register/c1'])
    expect(sent()).toEqual({
      client_id: 'c1',
      client_secret: 'hush-2',
      client_name: 'Test Gateway',
      application_type: 'native',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      logo_uri: 'https://as.example/logo',
      scope: 'read write',
    })
    const [registration] = await registrationsOf(context)
    expect(registration).toMatchObject({
      scope: 'read write',
      registrationAccessToken: 'hush-3',
      clientSecret: 'hush-2',
    })
  })

  it.each<[string, Reply]>([
    ['405', status(405)],
    ['a refusal', json({ error: 'invalid_client_metadata' }, 400)],
    ['an answer about another client', json({ client_id: 'c9' })],
  ])('is made again where it cannot be replaced: %s', async (_name, put) => {
    await ensure()
    manage(json(registered), put)
    registered = { client_id: 'c2', token_endpoint_auth_method: 'none' }
    expect(await ensure('write')).toMatchObject({ clientId: 'c2' })
    expect(as.count('POST', '/register')).toBe(2)
    expect((await registrationsOf(context)).map(({ clientId }) => clientId).sort()).toEqual(['c1', 'c2'])
  })

  it.each<[string, Reply]>([
    ['401', status(401)],
    ['404', status(404)],
    ['410', text('gone', 'text/plain', 410)],
  ])('is forgotten and made again where it is gone: %s', async (_name, reply) => {
    await ensure()
    manage(reply, reply)
    registered = { client_id: 'c2', token_endpoint_auth_method: 'none' }
    expect(await ensure('write')).toMatchObject({ clientId: 'c2' })
    expect((await registrationsOf(context)).map(({ clientId }) => clientId)).toEqual(['c2'])
  })

  it.each<[string, Reply]>([
    ['500', status(500)],
    ['429', status(429)],
    ['a connection that breaks off', HANG_UP],
  ])('survives a passing failure: %s', async (_name, reply) => {
    await ensure()
    manage(reply, reply)
    const renamed = { clientMetadata: { client_name: 'Renamed' } }
    expect(await ensure('read', renamed)).toMatchObject({ clientId: 'c1' })
    await expect(ensure('write')).rejects.toMatchObject({ code: 'management_failed' })
    expect(await ensure('read')).toMatchObject({ clientId: 'c1' })
    expect(as.count('POST', '/register')).toBe(1)
    expect(JSON.stringify(context.log)).not.toContain('hush')
  })

  it('is not written where it cannot be read for now: what was updated there would be lost', async () => {
    await ensure()
    manage(status(503), json(registered))
    await expect(ensure('write')).rejects.toMatchObject({ code: 'management_failed' })
    expect(asked()).toEqual(['GET /register/c1'])
  })

  it('is renewed with our own metadata; where the issuer refuses, by registering again', async () => {
    await ensure()
    as.replies[ASM] = json(metadataOf(as.url))
    const server = declare(`${as.url}/mcp`)
    const registrations = createRegistrations(context, () => server)
    const [{ id = '' } = {}] = await registrations.list()
    manage(json({ ...registered, redirect_uris: ['https://wrong.example'] }), json(registered))
    expect(await registrations.renew(id)).toMatchObject({ clientId: 'c1' })
    expect(sent()).toMatchObject({ redirect_uris: [CALLBACK] })
    manage(json(registered), status(405))
    registered = { client_id: 'c2', token_endpoint_auth_method: 'none' }
    expect(await registrations.renew(id)).toMatchObject({ id, clientId: 'c2' })
  })

  describe('and secrets that expire (FIELD-NOTES 10)', () => {
    const LIFETIME = 100_000

    beforeEach(() => {
      Object.assign(registered, {
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: 'hush-s1',
        client_secret_expires_at: context.clock() / 1000 + LIFETIME,
      })
    })

    const recall = (): Promise<OAuthClient> =>
      recallClient(context, declare(`${as.url}/mcp`), {
        clientSource: 'dynamic',
        clientId: 'c1',
        redirectUri: CALLBACK,
        authorizationServer: discoveredAt(as.url).authorizationServer,
      })

    const renewed = (): Reply =>
      json({
        ...registered,
        client_secret: 'hush-s2',
        client_secret_expires_at: context.clock() / 1000 + LIFETIME,
      })

    it('is renewed when a tenth of its lifetime is left, before its next use, and keeps its client id', async () => {
      await ensure()
      manage(json(registered), renewed())
      context.pass(LIFETIME * 900 - 1)
      expect(await recall()).toMatchObject({ clientSecret: 'hush-s1' })
      expect(asked()).toEqual([])
      context.pass(1)
      manage(json(registered), renewed())
      const clients = await Promise.all([recall(), recall(), ensure()])
      for (const client of clients) expect(client).toMatchObject({ clientId: 'c1', clientSecret: 'hush-s2' })
      expect(as.count('PUT', '/register/c1')).toBe(1)
    })

    it('is not due from birth once the client is older than ten of its secrets', async () => {
      await ensure()
      for (let generation = 0; generation < 12; generation++) {
        context.pass(LIFETIME * 950)
        const expires = { client_secret_expires_at: context.clock() / 1000 + LIFETIME }
        manage(
          json({ ...registered, ...expires }),
          json({ ...registered, ...expires, client_secret: `s${generation}` }),
        )
        expect(await recall()).toMatchObject({ clientSecret: `s${generation}` })
        const before = as.requests.length
        expect(await recall()).toMatchObject({ clientSecret: `s${generation}` })
        expect(as.requests.length).toBe(before)
      }
    })

    it('is used as long as it lasts where it cannot be renewed, for what was begun with it', async () => {
      await ensure()
      manage(status(503), status(503))
      context.pass(LIFETIME * 950)
      expect(await recall()).toMatchObject({ clientSecret: 'hush-s1' })
      expect(await ensure()).toMatchObject({ clientSecret: 'hush-s1' })
    })

    it('is registered again where a replacement leaves the secret as it was', async () => {
      await ensure()
      manage(json(registered), json(registered))
      context.pass(LIFETIME * 950)
      registered = { client_id: 'c2', token_endpoint_auth_method: 'none' }
      expect(await ensure()).toMatchObject({ clientId: 'c2' })
    })
  })
})

describe('a registration without management', () => {
  it('says so where the issuer offers no management, and asks nothing of it', async () => {
    const as = await startFake()
    as.replies['/register'] = json({ client_id: 'c1', token_endpoint_auth_method: 'none' }, 201)
    const context = createOAuthContext()
    const server = declare(`${as.url}/mcp`)
    await dynamicClient(context, {
      server,
      discovered: discoveredAt(as.url),
      scope: undefined,
      baseUrl: BASE_URL,
    })
    const registrations = createRegistrations(context, () => server)
    const [{ id = '', managed } = {}] = await registrations.list()
    expect(managed).toBe(false)
    for (const call of [
      registrations.read(id),
      registrations.update(id, { contacts: [] }),
      registrations.delete(id),
    ])
      await expect(call).rejects.toMatchObject({ code: 'management_not_supported' })
    expect(as.asked()).toEqual(['POST /register'])
  })

  it('is renewed by registering again', async () => {
    const as = await startFake()
    let issued = 0
    as.replies['/register'] = (res, request) =>
      json({ client_id: `c${++issued}`, token_endpoint_auth_method: 'none' }, 201)(res, request)
    as.replies[ASM] = json(metadataOf(as.url))
    const context = createOAuthContext()
    const server = declare(`${as.url}/mcp`)
    await dynamicClient(context, {
      server,
      discovered: discoveredAt(as.url),
      scope: undefined,
      baseUrl: BASE_URL,
    })
    const registrations = createRegistrations(context, () => server)
    const [{ id = '' } = {}] = await registrations.list()
    expect(await registrations.renew(id)).toMatchObject({ id, clientId: 'c2' })
    const undeclared = createRegistrations(context, () => undefined)
    await expect(undeclared.renew(id)).rejects.toMatchObject({ code: 'unknown_server' })
  })
})

describe('a refused value is left out once (SPEC 19)', () => {
  const register = async (refuse: (body: Record<string, unknown>) => string | undefined, scope?: string) => {
    const as = await startFake()
    const context = createOAuthContext()
    as.replies['/register'] = (res, request) => {
      const body = JSON.parse(request.body) as Record<string, unknown>
      const error_description = refuse(body)
      const answer = { client_id: 'c1', client_secret: 's', ...body }
      return (
        error_description === undefined
          ? json(answer, 201)
          : json({ error: 'invalid_client_metadata', error_description }, 400)
      )(res, request)
    }
    const client = dynamicClient(context, {
      server: declare(`${as.url}/mcp`),
      discovered: discoveredAt(as.url),
      scope,
      baseUrl: BASE_URL,
    })
    return { as, context, client }
  }

  it('the scope; the client may then ask for it all the same', async () => {
    const { as, context, client } = await register(
      ({ scope }) => (scope === undefined ? undefined : 'no'),
      'read',
    )
    expect(await client).toMatchObject({ clientId: 'c1', tokenEndpointAuthMethod: 'none' })
    expect((await registrationsOf(context))[0]).toMatchObject({ scope: 'read' })
    expect(as.count('POST', '/register')).toBe(2)
  })

  it('the scope, where a policy refuses it by a 403; it stays out when the client is brought up to date', async () => {
    const as = await startFake()
    const context = createOAuthContext()
    const refusal = json({ error: 'insufficient_scope', error_description: 'clientScope not permitted' }, 403)
    const client = {
      client_id: 'c1',
      client_secret: 's',
      scope: 'read write',
      registration_access_token: 't',
    }
    const answer: Reply = (res, request) => {
      const { scope, ...body } =
        request.body === '' ? {} : (JSON.parse(request.body) as Record<string, unknown>)
      const isRefused = String(scope).includes('openid')
      return (
        isRefused ? refusal : json({ ...body, ...client, registration_client_uri: `${as.url}/c1` }, 201)
      )(res, request)
    }
    as.replies['/register'] = answer
    as.replies['/c1'] = answer
    const ensure = (baseUrl: string) =>
      dynamicClient(context, {
        server: declare(`${as.url}/mcp`),
        discovered: discoveredAt(as.url),
        scope: 'openid read',
        baseUrl,
      })
    expect((await ensure(BASE_URL)).clientId).toBe('c1')
    expect((await ensure('http://localhost:3999')).clientId).toBe('c1')
    expect(as.asked()).toEqual(['POST /register', 'POST /register', 'GET /c1', 'PUT /c1'])
    expect(await registrationsOf(context)).toHaveLength(1)
  })

  it('the authentication method, where the server says that, or where there is no scope', async () => {
    const public_ = (said: string) => (body: Record<string, unknown>) =>
      body.token_endpoint_auth_method === 'none' ? said : undefined
    const said = await register(public_('token_endpoint_auth_method is not allowed'), 'read')
    expect(await said.client).toMatchObject({
      tokenEndpointAuthMethod: 'client_secret_basic',
      clientSecret: 's',
    })
    expect(JSON.parse(said.as.requests[1]?.body ?? '').scope).toBe('read')
    const silent = await register(public_('no'))
    expect(await silent.client).toMatchObject({ tokenEndpointAuthMethod: 'client_secret_basic' })
  })

  it('and never a second time', async () => {
    const { as, client } = await register(() => 'never', 'read')
    await expect(client).rejects.toMatchObject({ code: 'invalid_client_metadata' })
    expect(as.count('POST', '/register')).toBe(2)
  })
})
