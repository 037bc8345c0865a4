import { beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import {
  ASM,
  declare,
  discoverOnce,
  expectFailure,
  HANG_UP,
  json,
  metadataOf,
  OIDC,
  PRM,
  redirectTo,
  SILENCE,
  startFake,
  status,
  text,
  TOO_LARGE,
  type FakeServer,
  type Reply,
} from './support.js'

/** The MCP server, and the authorization server that its metadata names. */
let mcp: FakeServer
let as: FakeServer

beforeEach(async () => {
  ;[mcp, as] = await Promise.all([startFake(), startFake()])
  names([as.url])
})

function names(issuers: readonly unknown[]): void {
  mcp.replies[PRM] = json({ resource: mcp.url, authorization_servers: issuers })
}

function discover(oauthConfig: OAuthConfig = {}, timeout = 10_000): ReturnType<typeof discoverOnce> {
  return discoverOnce(declare(`${mcp.url}/`, oauthConfig), undefined, { timeout })
}

function serves(changes: Record<string, unknown> = {}, issuer = as.url): void {
  as.replies[ASM] = json(metadataOf(issuer, changes))
}

describe('where authorization server metadata is found (SPEC 10, 11)', () => {
  it.each([
    ['', [ASM, OIDC]],
    ['/', [ASM, OIDC]],
    ['/tenant1', [`${ASM}/tenant1`, `${OIDC}/tenant1`, `/tenant1${OIDC}`]],
    ['/tenant1/', [`${ASM}/tenant1`, `${OIDC}/tenant1`, `/tenant1${OIDC}`]],
    ['/a/b', [`${ASM}/a/b`, `${OIDC}/a/b`, `/a/b${OIDC}`]],
  ])('for an issuer with the path %o, in this order', async (path, urls) => {
    names([as.url + path])
    await expectFailure(discover(), 'discovery_failed', new RegExp(`${as.url}.*404.*404`))
    expect(as.asked()).toEqual(urls.map((url) => `GET ${url}`))
    for (const [index, url] of urls.entries()) {
      as.requests.length = 0
      for (const other of urls) delete as.replies[other]
      as.replies[url] = json(metadataOf(as.url + path))
      expect((await discover()).authorizationServer.issuer).toBe(as.url + path)
      expect(as.asked()).toEqual(urls.slice(0, index + 1).map((it) => `GET ${it}`))
    }
  })

  it.each<[string, Reply]>([
    ['a 404', status(404)],
    ['a 503', status(503)],
    ['HTML', text('<!doctype html>', 'text/html')],
    ['an empty body', text('')],
    ['a JSON array', json([])],
    ['a JSON string', json('issuer')],
    ['null', json(null)],
    ['more than 1 MiB', TOO_LARGE],
    ['a redirect', redirectTo('/')],
  ])('%s: the next URL is tried', async (_name, reply) => {
    as.replies[ASM] = reply
    as.replies[OIDC] = json(metadataOf(as.url))
    expect((await discover()).authorizationServer.issuer).toBe(as.url)
  })

  it.each<[string, Reply, Parameters<typeof expectFailure>[1]]>([
    ['HTML', text('<!doctype html>', 'text/html'), 'metadata_invalid'],
    ['null', json(null), 'metadata_invalid'],
    ['more than 1 MiB', TOO_LARGE, 'response_too_large'],
    ['a redirect', redirectTo('https://as.example/?code=s3cret'), 'redirect_refused'],
    ['a 503', status(503), 'request_failed'],
    ['a connection that breaks off', HANG_UP, 'request_failed'],
    ['silence', SILENCE, 'request_timeout'],
  ])('%s and nothing else is %s', async (_name, reply, code) => {
    as.replies[ASM] = reply
    await expectFailure(discover({}, code === 'request_timeout' ? 1000 : 10_000), code, as.url, ['s3cret'])
    expect(mcp.count('GET', ASM)).toBe(0)
  })
})

describe('the issuer (SPEC 12)', () => {
  it.each([
    ['the same', '', '', true],
    ['a slash more, without a path', '', '/', true],
    ['a slash less, without a path', '/', '', true],
    ['a slash more, with a path', '/t', '/t/', false],
    ['a slash less, with a path', '/t/', '/t', false],
    ['another path', '/t', '', false],
    ['another case', '/t', '/T', false],
    ['a query', '', '?x', false],
  ])('%s: asked for %o, answered %o', async (_name, asked, answered, accepted) => {
    names([as.url + asked])
    as.replies[ASM + asked.replace(/\/$/, '')] = json(metadataOf(as.url + answered))
    if (accepted) expect((await discover()).authorizationServer.issuer).toBe(as.url + answered)
    else await expectFailure(discover(), 'issuer_mismatch', as.url + answered)
  })

  it.each(['https://as.example', 'not a URL', 'x'.repeat(5000)])(
    'that is another, %o, is refused, also from OpenID Connect metadata',
    async (issuer) => {
      serves({}, issuer)
      as.replies[OIDC] = json(metadataOf(as.url))
      await expectFailure(discover(), 'issuer_mismatch', 'was asked for')
    },
  )

  it('with a line break is refused before it can forge a line of the log', async () => {
    serves({}, `${as.url}/\nmcp-dcr: forged line`)
    await expectFailure(
      discover(),
      'metadata_invalid',
      'no issuer that can be used: it has control characters',
    )
  })

  it('may be pinned for a provider whose metadata names another (FIELD-NOTES 20)', async () => {
    names([`${as.url}/tenant1`])
    as.replies[`${ASM}/tenant1`] = json(metadataOf(as.url))
    const error = await expectFailure(discover(), 'issuer_mismatch')
    expect(error.fix).toContain('oauthConfig.issuer')
    expect((await discover({ issuer: as.url })).authorizationServer.issuer).toBe(as.url)
    await expectFailure(discover({ issuer: `${as.url}/tenant1` }), 'issuer_mismatch')
  })

  it('that is pinned is asked first where the resource names it, last where it does not', async () => {
    serves()
    names(['https://a.invalid', 'https://b.invalid', 'https://c.invalid', as.url])
    expect((await discover({ issuer: as.url })).authorizationServer.issuer).toBe(as.url)
    names([`${as.url}/gone`])
    as.requests.length = 0
    expect((await discover({ issuer: as.url })).authorizationServer.issuer).toBe(as.url)
    expect(as.asked().at(-1)).toBe(`GET ${ASM}`)
  })

  it('that is pinned is the one of a server without resource metadata', async () => {
    delete mcp.replies[PRM]
    serves()
    expect((await discover({ issuer: as.url })).authorizationServer.issuer).toBe(as.url)
  })
})

describe('several authorization servers (SPEC 8)', () => {
  it('that all are silent are not waited for one after the other', async () => {
    const silent = await Promise.all([1, 2, 3].map(() => startFake({ [ASM]: SILENCE })))
    names(silent.map(({ url }) => url))
    await expectFailure(discover({}, 100), 'request_timeout')
    expect(silent.map((it) => it.asked().length)).toEqual([1, 1, 0])
  })

  it.each<[string, Reply]>([
    ['is not there', status(404)],
    ['is down', status(503)],
    ['is another', json(metadataOf('https://as.example'))],
    [
      'has no PKCE',
      (res, request) =>
        json({ ...metadataOf(`http://${request.headers.host}`), code_challenge_methods_supported: [] })(
          res,
          request,
        ),
    ],
    ['breaks off', HANG_UP],
  ])('one that %s: the next is taken', async (_name, reply) => {
    const broken = await startFake({ [ASM]: reply })
    serves()
    names([broken.url, as.url])
    expect((await discover()).authorizationServer.issuer).toBe(as.url)
  })

  it('one that is no https URL: the next is taken', async () => {
    serves()
    names(['http://as.example', 'javascript:alert(1)', as.url])
    expect((await discover()).authorizationServer.issuer).toBe(as.url)
  })

  it('the first that works is taken; no other is asked', async () => {
    serves()
    const second = await startFake()
    names([as.url, second.url])
    expect((await discover()).authorizationServer.issuer).toBe(as.url)
    expect(second.asked()).toEqual([])
  })

  it('three are tried, each once, and the first one’s failure is told', async () => {
    serves({}, 'https://as.example')
    const others = await Promise.all([startFake(), startFake(), startFake()])
    names([as.url, as.url, ...others.map(({ url }) => url)])
    await expectFailure(discover(), 'issuer_mismatch', as.url)
    expect(as.asked()).toHaveLength(1)
    expect(others.map((it) => it.asked().length)).toEqual([2, 2, 0])
  })
})

describe('what the metadata must have (SPEC 13, 14)', () => {
  it.each([
    ['missing', undefined, 'dangerouslyAllowMissingPkceMetadata', true],
    ['null', null, 'dangerouslyAllowMissingPkceMetadata', true],
    ['a string', 'S256', 'dangerouslyAllowMissingPkceMetadata', true],
    ['plain alone', ['plain'], 'S256', false],
    ['empty', [], 'S256', false],
  ])('PKCE methods that are %s are refused', async (_name, methods, fix, overridable) => {
    serves({ code_challenge_methods_supported: methods })
    const error = await expectFailure(discover(), 'pkce_not_supported', as.url)
    expect(error.fix).toContain(fix)
    const overridden = discover({ dangerouslyAllowMissingPkceMetadata: true })
    if (overridable) expect((await overridden).authorizationServer.issuer).toBe(as.url)
    else await expectFailure(overridden, 'pkce_not_supported')
  })

  it.each(['authorization_endpoint', 'token_endpoint', 'registration_endpoint', 'revocation_endpoint'])(
    '%s has to be https, or http on loopback',
    async (member) => {
      for (const url of [
        'http://as.example/x',
        'javascript:alert(document.cookie)',
        'data:text/html,<script>alert(1)</script>',
        'file:///etc/passwd',
        'vbscript:x',
        '/relative',
        'https://user:s3cret@as.example/x',
        'https://as.example/x#fragment',
      ]) {
        serves({ [member]: url })
        await expectFailure(discover(), 'insecure_url', `The ${member} of ${as.url}`, ['s3cret', '<script'])
      }
      for (const url of ['https://as.example/x', 'http://127.0.0.1:1/x', 'http://[::1]/x?a=b']) {
        serves({ [member]: url })
        expect((await discover()).authorizationServer).toMatchObject({ [member]: url })
      }
    },
  )

  it.each(['authorization_endpoint', 'token_endpoint'])('%s has to be there', async (member) => {
    for (const value of [undefined, null, '', 7, {}, ['https://as.example']]) {
      serves({ [member]: value })
      await expectFailure(discover(), 'metadata_invalid', `${as.url}${ASM} has no ${member}`)
    }
  })

  it('an optional member of a wrong type counts as missing', async () => {
    serves({
      registration_endpoint: 7,
      revocation_endpoint: null,
      scopes_supported: 'read',
      token_endpoint_auth_methods_supported: { none: true },
      authorization_response_iss_parameter_supported: 'true',
      client_id_metadata_document_supported: 1,
      unknown_member: true,
    })
    const { authorizationServer } = await discover()
    expect(Object.keys(authorizationServer).sort()).toEqual([
      'authorization_endpoint',
      'code_challenge_methods_supported',
      'issuer',
      'token_endpoint',
    ])
  })

  it('a __proto__ key adds nothing', async () => {
    const polluted = JSON.stringify(metadataOf(as.url, { token_endpoint: undefined })).replace(
      '{',
      '{"__proto__":{"token_endpoint":"https://evil.example"},',
    )
    as.replies[ASM] = text(polluted, 'application/json')
    await expectFailure(discover(), 'metadata_invalid', 'has no token_endpoint')
    expect({}).not.toHaveProperty('token_endpoint')
  })
})

describe('servers of 2025-03-26, without resource metadata (SPEC 47)', () => {
  beforeEach(() => void delete mcp.replies[PRM])

  it('are their own issuer', async () => {
    mcp.replies[ASM] = json(metadataOf(mcp.url))
    expect(await discoverOnce(declare(`${mcp.url}/mcp`))).toMatchObject({
      resource: `${mcp.url}/mcp`,
      authorizationServer: { issuer: mcp.url, token_endpoint: `${mcp.url}/token` },
    })
    expect(mcp.asked()).toEqual([PRM + '/mcp', PRM, ASM].map((url) => `GET ${url}`))
  })

  it('without any metadata have the endpoints that it prescribed; the version is sent in each request', async () => {
    expect((await discoverOnce(declare(`${mcp.url}/mcp`))).authorizationServer).toEqual({
      issuer: mcp.url,
      authorization_endpoint: `${mcp.url}/authorize`,
      token_endpoint: `${mcp.url}/token`,
      registration_endpoint: `${mcp.url}/register`,
    })
    expect(mcp.asked()).toEqual([PRM + '/mcp', PRM, ASM, OIDC].map((url) => `GET ${url}`))
    expect(mcp.requests.every(({ headers }) => headers['mcp-protocol-version'] !== undefined)).toBe(true)
  })

  it.each([500, 503, 429])('that answer %s are down, not without metadata', async (code) => {
    mcp.replies[ASM] = status(code)
    await expectFailure(discover(), 'request_failed', `status ${code}`)
  })

  it('that are not declared have no such endpoints', async () => {
    const server = { ...declare(`${mcp.url}/mcp`), declared: false }
    await expectFailure(discoverOnce(server), 'discovery_failed', mcp.url)
  })

  it('do not cover metadata that is there and cannot be used', async () => {
    mcp.replies[ASM] = json(metadataOf(mcp.url, { code_challenge_methods_supported: undefined }))
    await expectFailure(discover(), 'pkce_not_supported')
  })
})
