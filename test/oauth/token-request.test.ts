import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { PrivateJwk } from '../../src/model.js'
import { prepareAuthorization, startAuthorization } from '../../src/oauth/authorize.js'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import { refresh } from '../../src/oauth/refresh.js'
import type { OAuthConfig } from '../../src/options.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson } from '../support/person.js'
import type { ReceivedRequest } from '../support/server.js'
import {
  ANSWER,
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  expectFailure,
  flowAt,
  json,
  startFake,
} from './support.js'

const TOKENS = { access_token: 'at', token_type: 'Bearer', refresh_token: 'rt', expires_in: 60 }

/** The exchange and the refresh of one connection, as the authorization server sees them. */
async function requestsOf(
  oauthConfig: OAuthConfig,
  changes: Parameters<typeof flowAt>[2] = {},
): Promise<[ReceivedRequest, ReceivedRequest]> {
  const as = await startFake({ '/token': json(TOKENS) })
  const context = createOAuthContext()
  const server = declare(`${as.url}/mcp`, oauthConfig)
  const flow = flowAt(as.url, server, { clientId: oauthConfig.clientId ?? '', ...changes })
  const connection = await finishAuthorization(context, server, flow, ANSWER)
  expect(await refresh(context, server, connection)).toMatchObject({ obtainedBy: 'refresh' })
  expect(as.asked()).toEqual(['POST /token', 'POST /token'])
  return as.requests as [ReceivedRequest, ReceivedRequest]
}

/** RFC 6749 §2.3.1: what the server reads from the Basic header. */
function basicOf({ authorization = '' }: ReceivedRequest): (string | null)[] {
  const [scheme, value = ''] = authorization.split(' ')
  expect(scheme).toBe('Basic')
  const raw = Buffer.from(value, 'base64').toString()
  return raw.split(':').map((part) => new URLSearchParams(`x=${part}`).get('x'))
}

const special = { clientId: 'id: +/é%41', clientSecret: `s:e c+r/e%t&=?"'()*~!é€` }
const plain = { clientId: 'https_id-1.example', clientSecret: 'secret-1_2.3' }

describe('client authentication at the token endpoint (RFC 6749 §2.3.1)', () => {
  it.each([special, plain])('by client_secret_basic: $clientId', async (client) => {
    for (const request of await requestsOf({ ...client, tokenEndpointAuthMethod: 'client_secret_basic' })) {
      expect(basicOf(request)).toEqual([client.clientId, client.clientSecret])
      expect([...request.form.keys()]).not.toContain('client_id')
      expect([...request.form.keys()]).not.toContain('client_secret')
    }
  })

  it('by client_secret_basic is readable to servers that do not decode, where nothing needs encoding', async () => {
    const { clientId, clientSecret } = plain
    for (const { authorization } of await requestsOf(plain))
      expect(authorization).toBe(`Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`)
  })

  it.each([special, plain])('by client_secret_post: $clientId', async (client) => {
    for (const request of await requestsOf({ ...client, tokenEndpointAuthMethod: 'client_secret_post' })) {
      expect(request.form.getAll('client_id')).toEqual([client.clientId])
      expect(request.form.getAll('client_secret')).toEqual([client.clientSecret])
      expect(request.authorization).toBeUndefined()
    }
  })

  it.each<[string, OAuthConfig]>([
    ['by none', { clientId: special.clientId }],
    ['by none, though there is a secret', { ...special, tokenEndpointAuthMethod: 'none' }],
  ])('%s', async (_name, oauthConfig) => {
    for (const request of await requestsOf(oauthConfig)) {
      expect(request.form.getAll('client_id')).toEqual([special.clientId])
      expect(request.form.has('client_secret')).toBe(false)
      expect(request.authorization).toBeUndefined()
    }
  })

  it('by none, for a client metadata document', async () => {
    const clientId = 'https://gateway.example/api/oauth/client.json'
    for (const request of await requestsOf({}, { clientSource: 'metadata_document', clientId })) {
      expect(request.form.getAll('client_id')).toEqual([clientId])
      expect(request.authorization).toBeUndefined()
    }
  })
})

describe('the token request (SPEC 24, 32, 37)', () => {
  it('has the code, its verifier, the redirect URI and the resource; the refresh has no scope', async () => {
    // `URL.href` would make it another resource.
    const resource = 'https://mcp.example'
    const [exchange, refreshing] = await requestsOf({ clientId: 'c1' }, { resource })
    expect(Object.fromEntries(exchange.form)).toEqual({
      grant_type: 'authorization_code',
      code: 'the-code',
      code_verifier: 'the-verifier-of-at-least-43-characters-as-RFC-7636-demands',
      redirect_uri: CALLBACK,
      resource,
      client_id: 'c1',
    })
    expect(Object.fromEntries(refreshing.form)).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'rt',
      resource,
      client_id: 'c1',
    })
    for (const { headers, url } of [exchange, refreshing]) {
      expect(headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
      // GitHub answers form-encoded otherwise.
      expect(headers.accept).toBe('application/json')
      expect(url).toBe('/token')
    }
  })

  it('has no resource where the flow has none', async () => {
    const as = await startFake({ '/token': json(TOKENS) })
    const server = declare(`${as.url}/mcp`, { clientId: 'client-1' })
    const { resource: _, ...flow } = flowAt(as.url, server)
    const context = createOAuthContext()
    await refresh(context, server, await finishAuthorization(context, server, flow, ANSWER))
    expect(as.requests.map(({ form }) => form.has('resource'))).toEqual([false, false])
  })
})

describe('the authorization request', () => {
  it('keeps the query that the authorization endpoint has (SPEC 14)', async () => {
    const as = await startFake()
    const context = createOAuthContext()
    const request = {
      server: declare(`${as.url}/mcp`, {
        clientId: 'c1',
        authorizationUrl: `${as.url}/authorize?tenant=a%20b&client_id=other&p=1&p=2`,
        tokenUrl: `${as.url}/token`,
        authorizationParams: { audience: 'x&y' },
      }),
      user: 'ann',
      baseUrl: BASE_URL,
      challenge: undefined,
      stepUp: undefined,
      returnTo: undefined,
    }
    const prepared = await prepareAuthorization(context, request, { fresh: false })
    const { url } = await startAuthorization(context, request, prepared)
    expect(url.origin + url.pathname).toBe(`${as.url}/authorize`)
    expect(url.searchParams.get('tenant')).toBe('a b')
    expect(url.searchParams.getAll('p')).toEqual(['1', '2'])
    expect(url.searchParams.getAll('client_id')).toEqual(['c1'])
    expect(url.searchParams.get('audience')).toBe('x&y')
    expect(url.searchParams.get('resource')).toBe(`${as.url}/mcp`)
  })
})

const PRIVATE_KEY = {
  ...(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }) as {
    kty: string
  }),
  alg: 'ES256',
  kid: 'key-1',
} as PrivateJwk

describe('a private key that is none', () => {
  it('is an error that shows nothing of it', async () => {
    const as = await startFake({ '/token': json({ access_token: 'at', token_type: 'Bearer' }) })
    const server = declare(`${as.url}/mcp`, {
      clientId: 'client-1',
      clientPrivateKey: { kty: 'EC', alg: 'ES256', crv: 'P-256', x: 'hush', y: 'hush', d: 'hush' },
    })
    const finished = finishAuthorization(createOAuthContext(), server, flowAt(as.url, server), ANSWER)
    await expectFailure(finished, 'client_invalid', 'private key cannot be used', ['hush'])
    expect(as.asked()).toEqual([])
  })
})

describe('oidc-provider accepts', () => {
  let world: World

  beforeEach(async () => {
    const redirect = { redirect_uris: [CALLBACK], grant_types: ['authorization_code', 'refresh_token'] }
    const clients = (['client_secret_basic', 'client_secret_post'] as const).map((method) => ({
      ...redirect,
      client_id: `static-${method}`,
      client_secret: 'p%40ss: w+rd/&=~-_.',
      token_endpoint_auth_method: method,
    }))
    const { d: _, ...publicKey } = PRIVATE_KEY
    const signing = {
      ...redirect,
      client_id: 'static-private_key_jwt',
      token_endpoint_auth_method: 'private_key_jwt' as const,
      jwks: { keys: [publicKey] },
    }
    world = await startWorld({ authorizationServer: { clients: [...clients, signing] } })
  })

  afterEach(() => world.close())

  it.each<OAuthConfig>([
    { tokenEndpointAuthMethod: 'none' },
    { tokenEndpointAuthMethod: 'client_secret_basic' },
    { tokenEndpointAuthMethod: 'client_secret_post' },
    { clientId: 'static-client_secret_basic', clientSecret: 'p%40ss: w+rd/&=~-_.' },
    {
      clientId: 'static-client_secret_post',
      clientSecret: 'p%40ss: w+rd/&=~-_.',
      tokenEndpointAuthMethod: 'client_secret_post',
    },
    { clientId: 'static-private_key_jwt', clientPrivateKey: PRIVATE_KEY },
  ])('the exchange and the refresh (FIELD-NOTES 9) of a client of %o', async (oauthConfig) => {
    const context = createOAuthContext()
    const server = declare(world.mcpServer.url, oauthConfig)
    const request = {
      server,
      user: 'ann',
      baseUrl: BASE_URL,
      challenge: undefined,
      stepUp: undefined,
      returnTo: undefined,
    }
    const prepared = await prepareAuthorization(context, request, { fresh: false })
    const { url, flow } = await startAuthorization(context, request, prepared)
    const back = await createPerson().signIn(url, { until: (it) => it.href.startsWith(CALLBACK) })
    const { searchParams } = new URL(back.location ?? '')
    const connection = await finishAuthorization(context, server, flow, searchParams)
    expect(await refresh(context, server, connection)).toMatchObject({
      status: 'connected',
      obtainedBy: 'refresh',
    })
  })
})
