import { readFileSync } from 'node:fs'
import type { Request } from 'express'
import { describe, expect, it } from 'vitest'
import type { OAuthConfig, Servers } from '../../src/options.js'
import { errorOf, resolved } from './support.js'

const url = 'https://mcp.example.com/mcp'
const NOTHING = {
  clientMetadata: {},
  authorizationParams: {},
  strictResource: false,
}

function only(servers: Servers) {
  const [server, ...others] = resolved({ servers }).servers ?? []
  expect(others).toEqual([])
  return server
}

/** The JSON under a heading of the product's document. */
function fromDocument(heading: string): { oauthConfig: OAuthConfig } {
  const document = readFileSync(
    new URL('../fixtures/dynamic-client-registration.md', import.meta.url),
    'utf8',
  )
  const section = document.slice(document.indexOf(`### ${heading}`))
  return JSON.parse(/```json\n([^]*?)```/.exec(section)?.[1] ?? '') as { oauthConfig: OAuthConfig }
}

describe('a server', () => {
  it.each<[string, Servers, object]>([
    [
      'by its URL',
      { notion: url },
      { name: 'notion', url, path: '/mcp/notion', declared: true, oauth: NOTHING },
    ],
    ['as an object', { notion: { url } }, { name: 'notion', url, path: '/mcp/notion', oauth: NOTHING }],
    ['with a path', { notion: { url, path: '/tools/notes' } }, { path: '/tools/notes' }],
    ['with a trailing slash', { notion: { url, path: '/tools/' } }, { path: '/tools' }],
    ['with a path as people write it', { notion: { url, path: '/größe x' } }, { path: '/größe x' }],
    [
      'with a name that a path cannot hold',
      { 'my/notes?': url },
      { name: 'my/notes?', path: '/mcp/my%2fnotes?' },
    ],
    ['on loopback', { notion: 'http://127.0.0.1:8080/mcp' }, { url: 'http://127.0.0.1:8080/mcp' }],
    ['whose URL is kept verbatim', { notion: 'https://MCP.example.com' }, { url: 'https://MCP.example.com' }],
  ])('%s', (_, servers, expected) => {
    expect(only(servers)).toMatchObject(expected)
  })

  it('named like a member of every object is a server like any other', () => {
    expect(only({ constructor: url })).toMatchObject({ name: 'constructor', path: '/mcp/constructor' })
  })

  it('is frozen, and apart from what was given', () => {
    const audience = { audience: 'a' }
    const server = only({ notion: { url, oauthConfig: { authorizationParams: audience } } })
    audience.audience = 'b'
    expect(server?.oauth.authorizationParams).toEqual({ audience: 'a' })
    expect([Object.isFrozen(server), Object.isFrozen(server?.oauth)]).toEqual([true, true])
  })

  it('given as undefined in each optional member is as if they were absent', () => {
    const undefinedConfig: Record<string, undefined> = {
      authorizationUrl: undefined,
      tokenUrl: undefined,
      scopes: undefined,
      offlineAccess: undefined,
      clientId: undefined,
      clientSecret: undefined,
      clientPrivateKey: undefined,
      issuer: undefined,
      registrationUrl: undefined,
      initialAccessToken: undefined,
      softwareStatement: undefined,
      tokenEndpointAuthMethod: undefined,
      resource: undefined,
      authorizationParams: undefined,
      clientMetadata: undefined,
      dynamicRegistration: undefined,
      defaultEndpoints: undefined,
      dangerouslyAllowMissingPkceMetadata: undefined,
      strictResource: undefined,
    } satisfies { [Name in keyof Required<OAuthConfig>]: undefined }
    const servers = { notion: { url, path: undefined, oauthConfig: undefinedConfig } } as never as Servers
    expect(only(servers)).toStrictEqual({
      name: 'notion',
      url,
      path: '/mcp/notion',
      declared: true,
      oauth: NOTHING,
    })
  })
})

describe('oauthConfig', () => {
  const initialAccessToken = () => 'token'

  it.each<[string, OAuthConfig, object]>([
    ['scopes as text', { scopes: ' read   write ' }, { scopes: 'read write' }],
    ['scopes as a list', { scopes: ['read', 'write'] }, { scopes: 'read write' }],
    ['no scopes', { scopes: '' }, {}],
    ['an empty list of scopes', { scopes: [] }, {}],
    ['a public client', { clientId: 'c' }, { clientId: 'c' }],
    ['an initial access token by function', { initialAccessToken }, { initialAccessToken }],
    ['a resource', { resource: url }, { resource: url }],
    ['a resource that is no URL', { resource: 'api://1234' }, { resource: 'api://1234' }],
    ['no resource', { resource: false }, { resource: false }],
    [
      'the methods without a client',
      { tokenEndpointAuthMethod: 'client_secret_basic' },
      { tokenEndpointAuthMethod: 'client_secret_basic' },
    ],
    [
      'more parameters',
      { authorizationParams: { audience: 'a' } },
      { authorizationParams: { audience: 'a' } },
    ],
    [
      'more metadata',
      { clientMetadata: { contacts: ['a@example.com'], client_name: 'Ours' } },
      { clientMetadata: { contacts: ['a@example.com'], client_name: 'Ours' } },
    ],
    [
      'missing PKCE metadata',
      { dangerouslyAllowMissingPkceMetadata: true },
      { allowMissingPkceMetadata: true },
    ],
    ['strictness', { strictResource: true }, { strictResource: true }],
  ])('%s', (_, oauthConfig, expected) => {
    expect(only({ notion: { url, oauthConfig } })?.oauth).toStrictEqual({ ...NOTHING, ...expected })
  })

  it.each<[string, object]>([
    ['With DCR (Minimal Config)', { scopes: 'read write' }],
    [
      'Without DCR (Manual Config)',
      { clientId: 'manual-client-id', clientSecret: 'manual-secret', scopes: 'read write' },
    ],
  ])('is taken word for word from the product’s document: %s', (heading, expected) => {
    expect(only({ notion: { url, ...fromDocument(heading) } })?.oauth).toStrictEqual({
      ...NOTHING,
      authorizationUrl: 'https://auth.example.com/authorize',
      tokenUrl: 'https://auth.example.com/token',
      ...expected,
    })
  })
})

describe('servers as a function', () => {
  const req = {} as Request

  it.each<[string, (servers: Servers) => Servers | Promise<Servers>]>([
    ['sync', (servers) => servers],
    ['async', async (servers) => servers],
  ])('%s: is asked for each request, and its answer is resolved', async (_, answer) => {
    const asked: unknown[] = []
    const config = resolved({
      servers: (it: Request) => {
        asked.push(it)
        return answer({ [`server${asked.length}`]: url })
      },
    })
    expect(config.servers).toBeUndefined()
    expect(await config.serversOf(req)).toMatchObject([{ name: 'server1', url, path: '/mcp/server1' }])
    expect(await config.serversOf(req)).toMatchObject([{ name: 'server2' }])
    expect(asked).toEqual([req, req])
  })

  it('the same object is resolved once', async () => {
    const servers = { notion: url }
    const config = resolved({ servers: async () => servers })
    expect(await config.serversOf(req)).toBe(await config.serversOf(req))
  })

  it.each<[unknown, string]>([
    [undefined, 'mcpDcr(): `servers` has to be an object of MCP servers by name.'],
    [null, 'mcpDcr(): `servers` has to be an object of MCP servers by name.'],
    ['notion', 'mcpDcr(): `servers` has to be an object of MCP servers by name.'],
    [
      { notion: { url, oauthConfg: {} } },
      'mcpDcr(): `servers.notion`: unknown option `oauthConfg` (did you mean `oauthConfig`?).',
    ],
  ])('a wrong answer is refused: %j', async (answer, message) => {
    const config = resolved({ servers: () => answer })
    const error: unknown = await Promise.resolve(config.serversOf(req)).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'invalid_options', message })
  })
})

it('the paths of servers are distinct, also where one lies below another', () => {
  const servers = { a: { url, path: '/mcp' }, b: { url, path: '/mcp/b' } }
  expect(resolved({ servers }).servers?.map(({ path }) => path)).toEqual(['/mcp', '/mcp/b'])
  expect(
    errorOf(() => resolved({ servers: { 'a b': url, c: { url, path: '/mcp/a b' } } })).message,
  ).toContain('"a b" and "c" have the same path /mcp/a b')
})
