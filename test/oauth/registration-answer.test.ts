import { describe, expect, it } from 'vitest'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import {
  ANSWER,
  CALLBACK,
  declare,
  expectFailure,
  flowAt,
  json,
  registrationsOf,
  startRegistry,
  status,
  text,
  type EnsureOptions,
  type Reply,
} from './support.js'

const basic = { client_id: 'c1', client_secret: 's1', token_endpoint_auth_method: 'client_secret_basic' }
const asBasic = { clientId: 'c1', clientSecret: 's1', tokenEndpointAuthMethod: 'client_secret_basic' }
const asNone = { clientId: 'c1', tokenEndpointAuthMethod: 'none' }
const supports = (...methods: string[]): EnsureOptions => ({
  metadata: { token_endpoint_auth_methods_supported: methods },
})

describe('a registration answer (RFC 7591 §3.2.1)', () => {
  it.each<[string, unknown, object, EnsureOptions?]>([
    [
      'as it should be',
      { ...basic, client_secret_expires_at: 0, client_id_issued_at: 9 },
      { ...asBasic, clientIdIssuedAt: 9 },
    ],
    [
      'nulls',
      {
        ...basic,
        client_secret_expires_at: null,
        client_id_issued_at: null,
        client_uri: null,
        logo_uri: null,
        scope: null,
        jwks: null,
      },
      asBasic,
    ],
    [
      'nulls, a public client',
      { client_id: 'c1', client_secret: null, token_endpoint_auth_method: null },
      asNone,
    ],
    [
      'empty strings',
      {
        ...basic,
        client_uri: '',
        logo_uri: '',
        policy_uri: '',
        scope: '',
        registration_client_uri: '',
        registration_access_token: '',
      },
      asBasic,
    ],
    [
      'empty strings, a public client',
      { client_id: 'c1', client_secret: '', token_endpoint_auth_method: 'none' },
      asNone,
    ],
    ['no client_secret_expires_at', basic, { ...asBasic, clientSecretExpiresAt: 0 }],
    [
      'client_secret_expires_at as a string',
      { ...basic, client_secret_expires_at: '2000000000' },
      { ...asBasic, clientSecretExpiresAt: 2_000_000_000 },
    ],
    [
      'client_secret_expires_at as nonsense',
      { ...basic, client_secret_expires_at: 'never' },
      { ...asBasic, clientSecretExpiresAt: 0 },
    ],
    [
      'client_secret_expires_at below 0',
      { ...basic, client_secret_expires_at: -1 },
      { ...asBasic, clientSecretExpiresAt: 0 },
    ],
    ['scope as a list', { ...basic, scope: ['read', 'write'] }, asBasic],
    [
      'other members of wrong types',
      { ...basic, redirect_uris: 'x', grant_types: null, contacts: 7, jwks: [] },
      asBasic,
    ],
    ['none asked for, a confidential client returned (Supabase)', basic, asBasic, supports('none')],
    [
      'none asked for and returned, but with a secret',
      { ...basic, token_endpoint_auth_method: 'none' },
      { ...asNone, clientSecret: 's1' },
    ],
    [
      'a secret asked for, a public client returned',
      { client_id: 'c1', token_endpoint_auth_method: 'none' },
      asNone,
      supports('client_secret_post'),
    ],
    ['no method, no secret', { client_id: 'c1' }, asNone],
    ['no method, but a secret', { client_id: 'c1', client_secret: 's1' }, asBasic],
    [
      'no method, but a secret, where only post is supported',
      { client_id: 'c1', client_secret: 's1' },
      { ...asBasic, tokenEndpointAuthMethod: 'client_secret_post' },
      supports('none', 'client_secret_post'),
    ],
    [
      'no method, but a secret, where post was asked for',
      { client_id: 'c1', client_secret: 's1' },
      { ...asBasic, tokenEndpointAuthMethod: 'client_secret_post' },
      { oauthConfig: { tokenEndpointAuthMethod: 'client_secret_post' } },
    ],
    ['a __proto__ key', JSON.parse('{"__proto__":{"client_secret":"s2"},"client_id":"c1"}'), asNone],
  ])('with %s is used', async (_name, answer, stored, options) => {
    for (const code of [201, 200]) {
      const registry = await startRegistry(json(answer, code))
      const client = await registry.ensure(options)
      expect(client).toMatchObject({ source: 'dynamic', clientId: 'c1' })
      const [registration, ...others] = await registrationsOf(registry.context)
      expect(registration).toMatchObject({
        status: 'registered',
        server: 'notes',
        serverUrl: `${registry.url}/mcp`,
        issuer: registry.url,
        redirectUri: CALLBACK,
        ...stored,
      })
      expect('clientSecret' in (registration ?? {})).toBe('clientSecret' in stored)
      expect([others, registry.asked()]).toEqual([[], ['POST /register']])
    }
  })

  it('of a lax server is read as it is meant: a 200, nulls, empty strings, a list as scope (FIELD-NOTES 14)', async () => {
    const lax = {
      client_id_issued_at: null,
      client_uri: '',
      contacts: null,
      jwks: '',
      scope: ['read', 'write'],
    }
    const registry = await startRegistry(json({ ...basic, ...lax, client_secret_expires_at: null }, 200))
    expect(await registry.ensure()).toEqual({ source: 'dynamic', ...asBasic, scope: 'read write' })
    const [registration] = await registrationsOf(registry.context)
    expect(registration).toMatchObject({
      ...asBasic,
      clientSecretExpiresAt: 0,
      registeredScope: 'read write',
    })
    expect(registration).not.toHaveProperty('clientIdIssuedAt')
  })

  it.each([
    ['client_secret_basic', 'none', { authorization: 'Basic YzE6czE=', form: {} }],
    ['client_secret_basic', 'client_secret_post', { authorization: 'Basic YzE6czE=', form: {} }],
    ['client_secret_post', 'none', { form: { client_id: 'c1', client_secret: 's1' } }],
    ['client_secret_post', 'client_secret_basic', { form: { client_id: 'c1', client_secret: 's1' } }],
    ['none', 'client_secret_basic', { form: { client_id: 'c1' } }],
  ])(
    'that returns %s for %s says how the client authenticates, in one way (FIELD-NOTES 13)',
    async (returned, asked, sent) => {
      const registry = await startRegistry(json({ ...basic, token_endpoint_auth_method: returned }, 201))
      registry.replies['/token'] = json({ access_token: 'at', token_type: 'Bearer' })
      const { clientId } = await registry.ensure(supports(asked))
      expect(JSON.parse(registry.requests[0]?.body ?? '').token_endpoint_auth_method).toBe(asked)
      const server = declare(`${registry.url}/mcp`)
      const flow = flowAt(registry.url, server, { clientSource: 'dynamic', clientId })
      await finishAuthorization(registry.context, server, flow, ANSWER)
      const { authorization, form } = registry.requests[1] ?? {}
      const { client_id, client_secret } = Object.fromEntries(form ?? [])
      expect({ authorization, form: { client_id, client_secret } }).toEqual(sent)
    },
  )

  it('that makes the client public, though a secret was asked for, serves all who asked meanwhile', async () => {
    let issued = 0
    const registry = await startRegistry((res, request) =>
      json({ client_id: `c${++issued}`, token_endpoint_auth_method: 'none' }, 201)(res, request),
    )
    const options = supports('client_secret_basic')
    const clients = await Promise.all(Array.from({ length: 20 }, () => registry.ensure(options)))
    clients.push(await registry.ensure(options))
    for (const client of clients) expect(client).toEqual({ source: 'dynamic', ...asNone })
    expect(registry.requests.map(({ body }) => JSON.parse(body).token_endpoint_auth_method)).toEqual([
      'client_secret_basic',
    ])
    expect(await registrationsOf(registry.context)).toMatchObject([asNone])
  })

  it('that is not labelled as JSON, or nested deeply, is used as well', async () => {
    const registry = await startRegistry(text(JSON.stringify(basic), 'text/plain', 201))
    expect(await registry.ensure()).toMatchObject(asBasic)
    const deep = `{"x":${'['.repeat(50_000)}${']'.repeat(50_000)},${JSON.stringify(basic).slice(1)}`
    const nested = await startRegistry(text(deep, 'application/json', 201))
    expect(await nested.ensure()).toMatchObject(asBasic)
  })

  it.each<[string, Reply]>([
    [
      'a method that needs a secret, without one',
      json({ client_id: 'c1', token_endpoint_auth_method: 'client_secret_basic' }, 201),
    ],
    [
      'an unknown method',
      json({ ...basic, client_secret: 'hush-secret', token_endpoint_auth_method: 'private_key_jwt' }, 201),
    ],
    [
      'a method of a wrong type',
      json({ ...basic, client_secret: 'hush-secret', token_endpoint_auth_method: ['none'] }, 201),
    ],
  ])(
    'with %s cannot be used; nothing is stored, and the log says which client that was',
    async (_name, reply) => {
      const { ensure, context } = await startRegistry(reply)
      const error = await expectFailure(ensure(), 'registration_response_invalid', /./, ['hush-secret'])
      expect(error.fix).toMatch(/oauthConfig\.(clientId|tokenEndpointAuthMethod)/)
      expect(await registrationsOf(context)).toEqual([])
      const [warning, ...more] = context.log.filter(({ level }) => level === 'warn')
      expect([warning?.details, more]).toMatchObject([{ server: 'notes', clientId: 'c1' }, []])
      expect(JSON.stringify(context.log)).not.toContain('hush')
    },
  )

  it.each<[string, Reply]>([
    ['no client_id', json({ client_secret: 'hush-secret', token_endpoint_auth_method: 'none' }, 201)],
    ['a client_id that is no string', json({ client_id: 7, client_secret: 'hush-secret' }, 201)],
    ['an empty client_id', json({ client_id: '', client_secret: 'hush-secret' }, 201)],
    ['a client_secret that is no string', json({ client_id: 'c1', client_secret: ['hush-secret'] }, 201)],
    ['a JSON array', json([basic], 201)],
    ['null', json(null, 201)],
    ['broken JSON', text('{"client_id":"hush-secret', 'application/json', 201)],
    ['HTML', text('<p>hush-secret</p>', 'text/html', 200)],
    ['an empty body', text('', 'application/json', 201)],
    ['no content', status(204)],
  ])('with %s cannot be used; that there may be a client is remembered', async (_name, reply) => {
    const registry = await startRegistry(reply)
    const { context } = registry
    const error = await expectFailure(registry.ensure(), 'registration_response_invalid', /./, [
      'hush-secret',
    ])
    expect(error.fix).toMatch(/oauthConfig\.(clientId|tokenEndpointAuthMethod)/)
    expect(await registrationsOf(context)).toMatchObject([{ status: 'registering' }])
    registry.replies['/register'] = json(basic, 201)
    expect(await registry.ensure()).toMatchObject(asBasic)
    expect(JSON.stringify(context.log)).toContain('cut off')
  })

  it.each(['a\r\nb', 'a b', 'é', '\0', ''])(
    'whose registration access token no header can carry is used without it: %j',
    async (token) => {
      const registry = await startRegistry(status(500))
      registry.replies['/register'] = json(
        {
          client_id: 'c1',
          registration_access_token: token,
          registration_client_uri: `${registry.url}/register/c1`,
        },
        201,
      )
      expect((await registry.ensure()).clientId).toBe('c1')
      const [registration] = await registrationsOf(registry.context)
      expect(registration?.registrationAccessToken).toBeUndefined()
    },
  )

  it.each(['a\r\nset-cookie: b=c', '\0', '\ud800'])(
    'with a client_id that no URL can carry is refused: %j',
    async (clientId) => {
      const registry = await startRegistry(json({ client_id: clientId }, 201))
      await expectFailure(registry.ensure(), 'registration_response_invalid', 'an id that no URL can carry')
      expect(await registrationsOf(registry.context)).toEqual([])
    },
  )

  it('whose numbers cannot be converted is read without them', async () => {
    const wrong = { toString: 1, valueOf: 1 }
    const registry = await startRegistry(
      json({ ...basic, client_id_issued_at: wrong, client_secret_expires_at: wrong }, 201),
    )
    expect((await registry.ensure()).clientId).toBe('c1')
  })

  it.each([
    ['on the issuer’s origin', (url: string) => `${url}/register/c1?x=1`, true],
    ['on another origin', () => 'https://evil.example/register/c1', false],
    ['on another port', () => 'http://localhost:1/register/c1', false],
    ['relative', () => '/register/c1', false],
    ['a script', () => 'javascript:alert(1)', false],
    ['a list', (url: string) => [`${url}/register/c1`], false],
    ['missing', () => undefined, false],
  ])('whose registration_client_uri is %s', async (_name, uriAt, kept) => {
    const registry = await startRegistry(status(500))
    const uri = uriAt(registry.url)
    registry.replies['/register'] = json(
      { client_id: 'c1', registration_access_token: 'rat', registration_client_uri: uri },
      201,
    )
    await registry.ensure()
    const [registration] = await registrationsOf(registry.context)
    const { registrationAccessToken, registrationClientUri } = registration ?? {}
    expect([registrationAccessToken, registrationClientUri]).toEqual(
      kept ? ['rat', uri] : [undefined, undefined],
    )
    // No token is sent anywhere at this point.
    expect(registry.asked()).toEqual(['POST /register'])
  })
})
