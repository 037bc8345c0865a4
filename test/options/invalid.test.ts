import { describe, expect, it } from 'vitest'
import { errorOf, resolved } from './support.js'

const url = 'https://mcp.example.com/mcp'
const notion = (server: object) => ({ servers: { notion: { url, ...server } } })
const oauth = (oauthConfig: unknown) => notion({ oauthConfig })

const URL_FAULT =
  'has to be an absolute https URL (http is for loopback alone), without user name and fragment'
const BASE_URL_FAULT =
  'has to be an https URL without query (http is for loopback alone): the public URL of this gateway'
const PATH_FAULT =
  'has to start with "/", name at least one segment, have no query, and not lie under /api/oauth'
const NETWORK_FAULT = 'has to be a host without scheme and port, an IP address or a CIDR range'

function message(options: unknown): string {
  const error = errorOf(() => resolved(options))
  expect(error.code).toBe('invalid_options')
  expect(error.fix).toBe('The README lists every option with its default.')
  return error.message
}

describe('a wrong value is answered with its place and what it has to be', () => {
  it.each<[unknown, string]>([
    [null, 'the argument has to be an object'],
    ['https://mcp.example.com', 'the argument has to be an object'],
    [[], 'the argument has to be an object'],
    [{ baseUrl: 5 }, '`baseUrl` has to be a string'],
    [{ baseUrl: '' }, '`baseUrl` must not be empty'],
    [{ baseUrl: 'gateway.example.com' }, `\`baseUrl\` ${URL_FAULT}`],
    [{ baseUrl: 'http://gateway.example.com' }, `\`baseUrl\` ${URL_FAULT}`],
    [{ baseUrl: 'ftp://localhost' }, `\`baseUrl\` ${URL_FAULT}`],
    [{ baseUrl: 'https://a:b@example.com' }, `\`baseUrl\` ${URL_FAULT}`],
    [{ baseUrl: 'https://example.com/?a=b' }, `\`baseUrl\` ${BASE_URL_FAULT}`],
    [{ user: 'alice' }, '`user` has to be a function'],
    [{ clientName: '' }, '`clientName` must not be empty'],
    [
      { clientMetadataUrl: 'http://localhost/c.json' },
      '`clientMetadataUrl` has to be an https URL with a path: it is the client_id',
    ],
    [
      { clientMetadataUrl: 'https://example.com' },
      '`clientMetadataUrl` has to be an https URL with a path: it is the client_id',
    ],
    [{ encryptionKey: 5 }, '`encryptionKey` has to be a string or a list of strings'],
    [{ encryptionKey: [] }, '`encryptionKey` must not be empty'],
    [{ encryptionKey: ['ok', 5] }, '`encryptionKey` has to be a string or a list of strings'],
    [{ store: {} }, '`store` has to be a path, or a store with get, compareAndSet, delete and list'],
    [{ store: null }, '`store` has to be a path, or a store with get, compareAndSet, delete and list'],
    [{ trust: 'https://as.example' }, '`trust` has to be a list of issuers'],
    [{ trust: [] }, '`trust` must not be empty'],
    [
      { trust: ['as.example'] },
      '`trust.0` has to be an https URL (http is for loopback alone), or a host such as *.example.com with an end of the path or without',
    ],
    [{ trust: ['*/oauth2'] }, '`trust.0` has to name a host'],
    [{ timeout: '10' }, '`timeout` has to be a whole number of milliseconds'],
    [{ timeout: 1.5 }, '`timeout` has to be a whole number of milliseconds'],
    [{ timeout: NaN }, '`timeout` has to be a whole number of milliseconds'],
    [{ timeout: Infinity }, '`timeout` has to be a whole number of milliseconds'],
    [{ timeout: 0 }, '`timeout` has to be more than 0'],
    [{ timeout: -1 }, '`timeout` has to be more than 0'],
    [{ timeout: 2 ** 31 }, '`timeout` is too large'],
    [{ elicitationWait: -1 }, '`elicitationWait` must not be negative'],
    [{ elicitationWait: 2 ** 31 }, '`elicitationWait` is too large'],
    [{ logger: 'loud' }, '`logger` has to be an object with debug, info, warn and error, or some of them'],
    [{ logger: { warn: true } }, '`logger.warn` has to be a function'],
    [{ clock: 5 }, '`clock` has to be a function'],
    [
      { allowPrivateNetworks: '10.0.0.0/8' },
      '`allowPrivateNetworks` has to be a list of hosts, addresses or CIDR ranges',
    ],
    [{ allowPrivateNetworks: ['ok.corp', 5] }, '`allowPrivateNetworks.1` has to be a string'],
    ...['https://auth.corp', 'auth.corp:8443', '*.corp', '10.0.0.0/33', 'auth.corp/8', '10.0/8', 'a b'].map(
      (entry): [unknown, string] => [
        { allowPrivateNetworks: [entry] },
        `\`allowPrivateNetworks.0\` ${NETWORK_FAULT}`,
      ],
    ),
    [{ servers: null }, '`servers` has to be an object of MCP servers by name'],
    [{ servers: 'https://mcp.example.com' }, '`servers` has to be an object of MCP servers by name'],
    [{ servers: [url] }, '`servers` has to be an object of MCP servers by name'],
    [{ servers: new Map([['notion', url]]) }, '`servers` has to be an object of MCP servers by name'],
    [{ servers: { '': url } }, '`servers`: "" cannot be the name of a server'],
    [{ servers: { '..': url } }, '`servers`: ".." cannot be the name of a server'],
    [{ servers: { ['__proto__']: url } }, '`servers`: "__proto__" cannot be the name of a server'],
    [{ servers: { '\uD800': url } }, '`servers`: "\\ud800" cannot be the name of a server'],
    [{ servers: { notion: '' } }, '`servers.notion.url` must not be empty'],
    [{ servers: { notion: 'mcp.example.com' } }, `\`servers.notion.url\` ${URL_FAULT}`],
    [{ servers: { notion: 'http://mcp.example.com' } }, `\`servers.notion.url\` ${URL_FAULT}`],
    [{ servers: { notion: 'http://0.0.0.0:3000' } }, `\`servers.notion.url\` ${URL_FAULT}`],
    [{ servers: { notion: 'javascript:alert(1)' } }, `\`servers.notion.url\` ${URL_FAULT}`],
    [{ servers: { notion: `${url}#top` } }, `\`servers.notion.url\` ${URL_FAULT}`],
    [
      { servers: { notion: undefined } },
      '`servers.notion` has to be a URL, or an object with url, path and oauthConfig',
    ],
    [{ servers: { notion: {} } }, '`servers.notion.url` has to be a string'],
    ...[
      'mcp',
      '',
      '/',
      '//',
      '//evil.example',
      '/a?b',
      '/a#b',
      '/api/oauth',
      '/API/OAuth/x',
      '/x/../api/oauth/',
    ].map((path): [unknown, string] => [
      notion({ path }),
      `\`servers.notion.path\` ${path === '' ? 'must not be empty' : PATH_FAULT}`,
    ]),
    [
      { servers: { a: { url, path: '/mcp/x' }, b: { url, path: '/MCP/x/' } } },
      '`servers`: "a" and "b" have the same path /mcp/x',
    ],
    [{ servers: { a: { url, path: '/mcp/b' }, b: url } }, '`servers`: "a" and "b" have the same path /mcp/b'],
    [oauth('read'), '`servers.notion.oauthConfig` has to be an object'],
    [oauth(null), '`servers.notion.oauthConfig` has to be an object'],
    ...['authorizationUrl', 'tokenUrl', 'registrationUrl', 'issuer'].map((name): [unknown, string] => [
      oauth({ [name]: 'http://auth.example.com' }),
      `\`servers.notion.oauthConfig.${name}\` ${URL_FAULT}`,
    ]),
    [oauth({ scopes: 5 }), '`servers.notion.oauthConfig.scopes` has to be a string or a list of strings'],
    [
      oauth({ scopes: ['a', 5] }),
      '`servers.notion.oauthConfig.scopes` has to be a string or a list of strings',
    ],
    [oauth({ clientId: '' }), '`servers.notion.oauthConfig.clientId` must not be empty'],
    [
      oauth({ clientSecret: 's' }),
      '`servers.notion.oauthConfig.clientId` is missing: clientSecret belongs to a clientId',
    ],
    [
      oauth({ clientId: 'c', tokenEndpointAuthMethod: 'client_secret_post' }),
      '`servers.notion.oauthConfig.clientSecret` is missing: client_secret_post needs it',
    ],
    [
      oauth({ tokenEndpointAuthMethod: 'tls_client_auth' }),
      '`servers.notion.oauthConfig.tokenEndpointAuthMethod` has to be none, client_secret_basic, client_secret_post or private_key_jwt',
    ],
    [
      oauth({ clientId: 'c', tokenEndpointAuthMethod: 'private_key_jwt' }),
      '`servers.notion.oauthConfig.clientPrivateKey` is missing: private_key_jwt needs it',
    ],
    [
      oauth({ clientId: 'c', clientSecret: 's', clientPrivateKey: { kty: 'EC', alg: 'ES256', d: 'x' } }),
      '`servers.notion.oauthConfig.clientPrivateKey` and clientSecret exclude each other: a client authenticates in one way',
    ],
    [
      oauth({ clientId: 'c', clientPrivateKey: { kty: 'EC', alg: 'ES256' } }),
      '`servers.notion.oauthConfig.clientPrivateKey.d` is missing: this is not a private key',
    ],
    [
      oauth({ tokenEndpointAuthMethod: 'private_key_jwt' }),
      '`servers.notion.oauthConfig.tokenEndpointAuthMethod` of private_key_jwt is for a clientId with a clientPrivateKey',
    ],
    [
      oauth({ initialAccessToken: 5 }),
      '`servers.notion.oauthConfig.initialAccessToken` has to be a string or a function',
    ],
    ...[true, 'mcp', 'https://mcp.example.com/#a'].map((resource): [unknown, string] => [
      oauth({ resource }),
      '`servers.notion.oauthConfig.resource` has to be an absolute URI without fragment, or false',
    ]),
    [
      oauth({ authorizationParams: 'a=b' }),
      '`servers.notion.oauthConfig.authorizationParams` has to be an object',
    ],
    [
      oauth({ authorizationParams: { audience: 5 } }),
      '`servers.notion.oauthConfig.authorizationParams.audience` has to be a string',
    ],
    [
      oauth({ authorizationParams: { state: 'fixed' } }),
      '`servers.notion.oauthConfig.authorizationParams.state` is set by the flow itself; remove it',
    ],
    [oauth({ clientMetadata: [] }), '`servers.notion.oauthConfig.clientMetadata` has to be an object'],
    [
      oauth({ clientMetadata: { redirect_uris: [] } }),
      '`servers.notion.oauthConfig.clientMetadata.redirect_uris` is set by the gateway itself; remove it',
    ],
    [
      oauth({ clientMetadata: { token_endpoint_auth_method: 'none' } }),
      '`servers.notion.oauthConfig.clientMetadata.token_endpoint_auth_method` has an option of its own: set oauthConfig.tokenEndpointAuthMethod',
    ],
    [
      oauth({ clientMetadata: { contacts: null } }),
      '`servers.notion.oauthConfig.clientMetadata.contacts` has no value; leave it out',
    ],
    [oauth({ strictResource: 'yes' }), '`servers.notion.oauthConfig.strictResource` has to be true or false'],
    [
      oauth({ dangerouslyAllowMissingPkceMetadata: 1 }),
      '`servers.notion.oauthConfig.dangerouslyAllowMissingPkceMetadata` has to be true or false',
    ],
  ])('%j', (options, expected) => {
    expect(message(options)).toBe(`mcpDcr(): ${expected}.`)
  })
})

it.each([
  'http://gateway.example.com',
  'http://10.0.0.1',
  'http://0.0.0.0',
  'http://localhost.example.com',
  'http://[::ffff:8.8.8.8]',
])('plain http is refused outside of this machine, as the base URL and as that of a server: %s', (url) => {
  expect(message({ baseUrl: url, user: () => 'alice' })).toBe(`mcpDcr(): \`baseUrl\` ${URL_FAULT}.`)
  expect(message({ servers: { notes: url } })).toBe(`mcpDcr(): \`servers.notes.url\` ${URL_FAULT}.`)
})

describe('a misspelt option is answered with the nearest right one', () => {
  it.each<[unknown, string]>([
    [{ baseURL: url }, 'unknown option `baseURL` (did you mean `baseUrl`?)'],
    [{ server: {} }, 'unknown option `server` (did you mean `servers`?)'],
    [
      { base_url: url, tiemout: 5 },
      'unknown option `base_url` (did you mean `baseUrl`?), unknown option `tiemout` (did you mean `timeout`?)',
    ],
    [{ encryptionKeys: 'k' }, 'unknown option `encryptionKeys` (did you mean `encryptionKey`?)'],
    [
      { allowPrivateNetwork: [] },
      'unknown option `allowPrivateNetwork` (did you mean `allowPrivateNetworks`?)',
    ],
    [{ cookies: true }, 'unknown option `cookies`'],
    [notion({ Path: '/x' }), '`servers.notion`: unknown option `Path` (did you mean `path`?)'],
    [
      notion({ oAuthConfig: {} }),
      '`servers.notion`: unknown option `oAuthConfig` (did you mean `oauthConfig`?)',
    ],
    [
      { servers: { notion: { uri: url } } },
      '`servers.notion.url` has to be a string; `servers.notion`: unknown option `uri` (did you mean `url`?)',
    ],
    [
      oauth({ tokenURL: url }),
      '`servers.notion.oauthConfig`: unknown option `tokenURL` (did you mean `tokenUrl`?)',
    ],
    [
      oauth({ client_id: 'c' }),
      '`servers.notion.oauthConfig`: unknown option `client_id` (did you mean `clientId`?)',
    ],
    [
      oauth({ scope: 'read' }),
      '`servers.notion.oauthConfig`: unknown option `scope` (did you mean `scopes`?)',
    ],
    [
      oauth({ authorisationUrl: url }),
      '`servers.notion.oauthConfig`: unknown option `authorisationUrl` (did you mean `authorizationUrl`?)',
    ],
  ])('%j', (options, expected) => {
    expect(message(options)).toBe(`mcpDcr(): ${expected}.`)
  })
})

it('reports all problems at once, at whatever level they are', () => {
  const options = {
    baseUrl: 'nowhere',
    tiemout: 5,
    clock: 1,
    servers: {
      notion: { url: 'nowhere', oauthConfig: { tokenUrl: 'nowhere', clientID: 'c' } },
      github: { url, path: 'nowhere' },
    },
  }
  expect(message(options).split('; ')).toHaveLength(7)
  for (const part of [
    '`baseUrl` has',
    '`tiemout` (did you mean `timeout`?)',
    '`clock` has',
    '`servers.notion.url` has',
    '`servers.notion.oauthConfig.tokenUrl` has',
    '`servers.notion.oauthConfig`: unknown option `clientID` (did you mean `clientId`?)',
    '`servers.github.path` has',
  ]) {
    expect(message(options)).toContain(part)
  }
})

describe('no value is in a message, for it may be a secret', () => {
  const SECRET = 'hunter2-hunter2'

  it.each<[unknown]>([
    [{ encryptionKey: [SECRET, 5] }],
    [{ encryptionKey: { key: SECRET } }],
    [{ baseUrl: `https://user:${SECRET}@example.com` }],
    [{ baseUrl: `https://example.com/?key=${SECRET}` }],
    [{ store: { password: SECRET } }],
    [{ servers: { notion: `https://user:${SECRET}@example.com` } }],
    [oauth({ clientId: [SECRET] })],
    [oauth({ clientSecret: SECRET })],
    [oauth({ clientId: 'c', clientSecret: [SECRET] })],
    [oauth({ clientSecrett: SECRET })],
    [oauth({ initialAccessToken: [SECRET] })],
    [oauth({ softwareStatement: { jwt: SECRET } })],
    [oauth({ tokenEndpointAuthMethod: SECRET })],
    [oauth({ tokenUrl: `http://example.com/${SECRET}` })],
    [oauth({ clientMetadata: { client_secret: SECRET } })],
    [oauth({ authorizationParams: { state: SECRET } })],
  ])('%j', (options) => {
    const error = errorOf(() => resolved(options))
    expect(error.code).toBe('invalid_options')
    expect(`${error.message} ${error.fix} ${error.stack}`).not.toContain(SECRET)
    expect(error.cause).toBeUndefined()
  })
})
