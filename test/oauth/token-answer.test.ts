import { beforeEach, describe, expect, it } from 'vitest'
import type { McpDcrError } from '../../src/errors.js'
import type { Connection, PendingFlow, Server } from '../../src/model.js'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import {
  ANSWER,
  connectionOf,
  createOAuthContext,
  declare,
  ensureClientAt,
  expectFailure,
  flowAt,
  HANG_UP,
  json,
  redirectTo,
  registrationsOf,
  SILENCE,
  startFake,
  status,
  text,
  TOO_LARGE,
  type FakeServer,
  type Reply,
  type TestContext,
} from './support.js'

let as: FakeServer
let context: TestContext
let server: Server

beforeEach(async () => {
  as = await startFake()
  context = createOAuthContext()
  server = declare(`${as.url}/mcp`, { clientId: 'client-1', clientSecret: 'hush-client' })
})

function finish(reply: Reply, flow: Partial<PendingFlow> = {}, answer = ANSWER): Promise<Connection> {
  as.replies['/token'] = reply
  return finishAuthorization(context, server, flowAt(as.url, server, flow), answer)
}

const form = (body: Record<string, string>, code = 200): Reply =>
  text(new URLSearchParams(body).toString(), 'application/x-www-form-urlencoded; charset=utf-8', code)

const TOKENS = {
  access_token: 'at',
  token_type: 'Bearer',
  refresh_token: 'rt',
  expires_in: 60,
  scope: 'read',
}

describe('a token answer that can be used', () => {
  it.each<[string, Reply, object]>([
    ['as it should be', json(TOKENS), {}],
    ['201', json(TOKENS, 201), {}],
    ['form-encoded (GitHub)', form({ ...TOKENS, expires_in: '60' }), {}],
    ['not labelled as JSON', text(JSON.stringify(TOKENS)), {}],
    ['token_type missing', json({ ...TOKENS, token_type: undefined }), {}],
    ['token_type empty', json({ ...TOKENS, token_type: '' }), {}],
    ['token_type in capitals', json({ ...TOKENS, token_type: 'BEARER' }), {}],
    ['refresh_token empty', json({ ...TOKENS, refresh_token: '' }), { refreshToken: undefined }],
    ['refresh_token null', json({ ...TOKENS, refresh_token: null }), { refreshToken: undefined }],
    ['expires_in as a string', json({ ...TOKENS, expires_in: '60' }), {}],
    ['expires_in null', json({ ...TOKENS, expires_in: null }), { expiresAt: undefined }],
    ['expires_in nonsense', json({ ...TOKENS, expires_in: 'soon' }), { expiresAt: undefined }],
    ['expires_in 0', json({ ...TOKENS, expires_in: 0 }), { expiresAt: undefined }],
    [
      'expires_in beyond all dates',
      json({ ...TOKENS, expires_in: 1e300 }),
      { expiresAt: Date.UTC(2030, 0, 1) + 315_360_000_000 },
    ],
    ['expires_in endless', json({ ...TOKENS, expires_in: 'Infinity' }), { expiresAt: undefined }],
    ['scope as a list', json({ ...TOKENS, scope: ['read', 'write'] }), { scope: 'read write' }],
    ['scope missing: what was asked for', json({ ...TOKENS, scope: undefined }), { scope: 'asked' }],
    ['scope empty', json({ ...TOKENS, scope: '' }), { scope: 'asked' }],
    ['scope of a wrong type', json({ ...TOKENS, scope: 7 }), { scope: 'asked' }],
    ['a needless id_token', json({ ...TOKENS, id_token: 'x.y.z' }), {}],
    ['an id_token of a wrong type', json({ ...TOKENS, id_token: { x: 1 } }), {}],
    [
      'a __proto__ key',
      text(JSON.stringify(TOKENS).replace('{', '{"__proto__":{"error":"x"},'), 'application/json'),
      {},
    ],
    ['an empty error', json({ ...TOKENS, error: '', error_description: null }), {}],
    [
      'an answer nested deeply',
      text(
        JSON.stringify(TOKENS).replace('{', `{"x":${'['.repeat(50_000)}${']'.repeat(50_000)},`),
        'application/json',
      ),
      {},
    ],
  ])('%s', async (_name, reply, changes) => {
    const now = context.clock()
    const expected = {
      accessToken: 'at',
      refreshToken: 'rt',
      expiresAt: now + 60_000,
      scope: 'read',
      ...changes,
    }
    const connection = await finish(reply, { scope: 'asked' })
    const { accessToken, refreshToken, expiresAt, scope } = connection
    expect({ accessToken, refreshToken, expiresAt, scope }).toEqual(expected)
    expect(connection).toMatchObject({
      status: 'connected',
      user: 'ann',
      obtainedBy: 'authorization',
      obtainedAt: now,
    })
    expect(await connectionOf(context)).toEqual(connection)
    expect(as.asked()).toEqual(['POST /token'])
  })

  it.each(['token_response_invalid'] as const)('and one that cannot is %s', async (code) => {
    for (const reply of [
      json({ ...TOKENS, access_token: undefined }),
      json({ ...TOKENS, access_token: '' }),
      json({ ...TOKENS, access_token: 7 }),
      json({ ...TOKENS, access_token: 'hush-1\r\nx-evil: 1' }),
      json({ ...TOKENS, access_token: 'hush-1 hush-2' }),
      json({ ...TOKENS, access_token: 'hush-1\u0000' }),
      json({ ...TOKENS, access_token: 'hush-é€' }),
      json({ ...TOKENS, access_token: 'hush-1', token_type: 'mac' }),
      json({ ...TOKENS, access_token: 'hush-1', token_type: ['Bearer'] }),
      json({ ...TOKENS, access_token: 'hush-1', refresh_token: { a: 'hush-2' } }),
      json(['hush-1']),
      json(null),
      text('access_token=hush-1', 'text/plain'),
      text('<p>hush-1</p>', 'text/html'),
      text('{"access_token":"hush-1', 'application/json'),
      text('', 'application/json'),
      status(204),
    ]) {
      await expectFailure(finish(reply), code, /token/, ['hush'])
      expect(await connectionOf(context)).toBeUndefined()
    }
  })
})

describe('a refused token request (RFC 6749 §5.2, SPEC 33)', () => {
  const github = { error: 'bad_verification_code', error_description: 'The code is incorrect or expired.' }

  it.each<[string, Reply, McpDcrError['code'], RegExp]>([
    [
      '200 with an error (GitHub)',
      json(github),
      'token_request_failed',
      /bad_verification_code: The code is/,
    ],
    [
      '200 with an error, form-encoded',
      form(github),
      'token_request_failed',
      /bad_verification_code: The code is/,
    ],
    ['400 invalid_grant', json({ error: 'invalid_grant' }, 400), 'token_request_failed', /invalid_grant/],
    [
      '400 with lines',
      json({ error: 'x', error_description: 'a\r\nforged' }, 400),
      'token_request_failed',
      /x: a forged/,
    ],
    ['400 without an error', json({ message: 'hush-body' }, 400), 'token_request_failed', /status 400/],
    ['401 in plain text', text('hush-body', 'text/plain', 401), 'token_request_failed', /status 401/],
    ['503 in HTML', text('<p>hush-body</p>', 'text/html', 503), 'token_request_failed', /status 503/],
    ['500 as an OAuth error', json({ error: 'server_error' }, 500), 'token_request_failed', /status 500/],
    ['429', status(429), 'token_request_failed', /status 429/],
    [
      'a redirect',
      redirectTo('https://evil.example/?x=hush-body'),
      'token_request_failed',
      /token redirects/,
    ],
    ['a connection that breaks off', HANG_UP, 'token_request_failed', /could not be reached|broke off/],
    ['more than 1 MiB', TOO_LARGE, 'token_request_failed', /more than \d+ bytes/],
  ])('%s', async (_name, reply, code, says) => {
    await expectFailure(finish(reply), code, says, ['hush', 'the-verifier', 'the-code'])
    expect([await connectionOf(context), as.asked()]).toEqual([undefined, ['POST /token']])
    expect(JSON.stringify(context.log)).not.toContain('hush')
  })

  it('silence, at the timeout', async () => {
    context = createOAuthContext({ timeout: 50 })
    await expectFailure(finish(SILENCE), 'token_request_failed', '50 ms')
  })

  it.each<[string, Reply]>([
    ['in the body', json({ error: 'invalid_client' }, 401)],
    ['in the body of a 400', json({ error: 'invalid_client' }, 400)],
    [
      'in the body, beside a challenge',
      json({ error: 'invalid_client' }, 401, { 'www-authenticate': 'Basic realm="x"' }),
    ],
    [
      'in the challenge alone',
      status(401, { 'www-authenticate': 'Basic realm="x", error="invalid_client"' }),
    ],
  ])('invalid_client %s: a registration is forgotten, a configured client is not', async (_name, reply) => {
    const error = await expectFailure(finish(reply), 'client_invalid', /client/, ['hush'])
    expect(error.fix).toContain('oauthConfig.clientId')
    as.replies['/register'] = json({ client_id: 'client-1', token_endpoint_auth_method: 'none' }, 201)
    await ensureClientAt(context, as.url)
    server = declare(`${as.url}/mcp`)
    expect(await registrationsOf(context)).toHaveLength(1)
    const failed = await expectFailure(finish(reply, { clientSource: 'dynamic' }), 'client_invalid')
    expect(failed.fix).toContain('registers anew')
    expect(await registrationsOf(context)).toEqual([])
  })

  it.each([500, 503, 429])('invalid_client with status %s forgets nothing', async (code) => {
    as.replies['/register'] = json({ client_id: 'client-1', token_endpoint_auth_method: 'none' }, 201)
    await ensureClientAt(context, as.url)
    server = declare(`${as.url}/mcp`)
    const reply = status(code, { 'www-authenticate': 'Basic error="invalid_client"' })
    await expectFailure(finish(reply, { clientSource: 'dynamic' }), 'token_request_failed')
    await expectFailure(
      finish(json({ error: 'invalid_client' }, code), { clientSource: 'dynamic' }),
      'token_request_failed',
    )
    expect(await registrationsOf(context)).toHaveLength(1)
  })

  it('a token endpoint that is neither https nor loopback is not asked', async () => {
    const { authorizationServer } = flowAt(as.url, server)
    const insecure = { ...authorizationServer, token_endpoint: 'http://as.example/token' }
    await expectFailure(
      finish(json(TOKENS), { authorizationServer: insecure }),
      'token_request_failed',
      /not https/,
    )
  })
})

describe('a server that repeats what it was sent', () => {
  it('has none of it shown', async () => {
    const echo: Reply = (res, request) =>
      json({ error: 'invalid_request', error_description: decodeURIComponent(request.body) }, 400)(
        res,
        request,
      )
    const secrets = ['hush-client', 'the-verifier', 'the-code']
    server = declare(server.url, {
      clientId: 'client-1',
      clientSecret: 'hush-client',
      tokenEndpointAuthMethod: 'client_secret_post',
    })
    await expectFailure(finish(echo), 'token_request_failed', 'invalid_request', secrets)
  })
})

describe('a second sign-in', () => {
  it('keeps nothing of the first: the person may be somebody else at the provider this time', async () => {
    await finish(json(TOKENS))
    const { refresh_token: _, ...without } = TOKENS
    const second = await finish(json({ ...without, access_token: 'at2' }), { scope: 'write' })
    expect(second).toMatchObject({ accessToken: 'at2', requestedScope: 'write' })
    expect(second.refreshToken).toBeUndefined()
    expect(await connectionOf(context)).toEqual(second)
  })
})

describe('the authorization response, before any token request (SPEC 28)', () => {
  it.each<[string, Record<string, string | string[]>, McpDcrError['code'], RegExp]>([
    ['another issuer', { code: 'c', iss: 'https://evil.example' }, 'issuer_mismatch', /another issuer/],
    [
      'another issuer, with an error',
      { error: 'hush', iss: 'https://evil.example' },
      'issuer_mismatch',
      /another issuer/,
    ],
    ['two issuers', { code: 'c', iss: ['ISSUER', 'ISSUER'] }, 'issuer_mismatch', /another issuer/],
    ['the issuer with a slash more', { code: 'c', iss: 'ISSUER/' }, 'issuer_mismatch', /another issuer/],
    ['no issuer, though promised', { code: 'c', promised: '1' }, 'issuer_mismatch', /without the issuer/],
    [
      'a refusal',
      { error: 'access_denied', error_description: 'hush' },
      'access_denied',
      /gave this gateway no access/,
    ],
    [
      'an error',
      { error: 'invalid_scope', error_description: 'a\nb' },
      'authorization_failed',
      /invalid_scope: a b/,
    ],
    [
      'an error about a configured client',
      { error: 'unauthorized_client' },
      'authorization_failed',
      /unauthorized_client/,
    ],
    ['neither code nor error', {}, 'authorization_failed', /without a code/],
    ['an empty code', { code: '' }, 'authorization_failed', /without a code/],
    ['two codes', { code: ['hush', 'hush'] }, 'authorization_failed', /without a code/],
  ])('%s', async (_name, given, code, says) => {
    const { promised, ...parameters } = given
    const answer = new URLSearchParams({ state: 'the-state' })
    for (const [name, values] of Object.entries(parameters))
      for (const value of [values].flat()) answer.append(name, value.replace('ISSUER', as.url))
    const { authorizationServer } = flowAt(as.url, server)
    const promising = { ...authorizationServer, authorization_response_iss_parameter_supported: true }
    const flow = promised === undefined ? {} : { authorizationServer: promising }
    await expectFailure(finish(json(TOKENS), flow, answer), code, says, ['hush'])
    expect([await connectionOf(context), as.asked()]).toEqual([undefined, []])
  })

  it('the issuer itself, promised or not, goes on', async () => {
    const answer = new URLSearchParams({ ...Object.fromEntries(ANSWER), iss: as.url })
    expect(await finish(json(TOKENS), {}, answer)).toMatchObject({ accessToken: 'at' })
  })
})
