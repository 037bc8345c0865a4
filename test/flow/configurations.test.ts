import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { startAuthorizationServer } from '../support/authorization-server.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway, type DcrGatewayOptions } from '../support/dcr-gateway.js'
import { startWorld, type World, type WorldOptions } from '../support/gateway.js'
import type { OAuthConfig, Options } from '../../src/index.js'

let world: World
let gateway: DcrGateway
let alice: Person

async function start(
  worldOptions: WorldOptions,
  oauthConfig: (issuer: string) => OAuthConfig,
  more: (url: string) => Options = () => ({}),
  given: Partial<DcrGatewayOptions> = {},
): Promise<void> {
  world = await startWorld(worldOptions)
  const { url } = world.mcpServer
  gateway = await startDcrGateway({
    servers: { notes: url },
    options: (base) => ({
      servers: { notes: { url, oauthConfig: oauthConfig(world.authorizationServer.issuer) } },
      ...more(base),
    }),
    ...given,
  })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
}

afterEach(async () => {
  await gateway.close()
  await world.close()
})

/** The two configurations of the product's document, word for word but for the host. */
function fromDocument(heading: string, issuer: string): OAuthConfig {
  const document = readFileSync(
    new URL('../fixtures/dynamic-client-registration.md', import.meta.url),
    'utf8',
  )
  const section = document.slice(document.indexOf(`### ${heading}`))
  const [, json = ''] = /```json\n([^]*?)```/.exec(section) ?? []
  const { oauthConfig } = JSON.parse(json.replaceAll('https://auth.example.com', issuer)) as {
    oauthConfig: OAuthConfig
  }
  return oauthConfig
}

/** oidc-provider's endpoints at the paths that the document uses. */
const documentPaths: WorldOptions = {
  authorizationServer: {
    configure: (configuration) => {
      configuration.routes = { authorization: '/authorize', token: '/token', registration: '/register' }
    },
  },
  mcpServer: { scopesSupported: ['read', 'write'], requiredScopes: ['read'] },
}

describe('the configurations of the product’s document', () => {
  it('minimal: no client id, the registration endpoint is found from the authorization URL’s origin', async () => {
    await start(documentPaths, (issuer) => fromDocument('With DCR (Minimal Config)', issuer))
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
    expect(world.authorizationServer.count('POST', '/register')).toBe(1)
    const authorize = page.hops.find(({ url }) => url.includes('/authorize?'))
    expect(new URL(authorize?.url ?? '').searchParams.get('scope')).toMatch(/^read write/)
  })

  it('minimal, in front of a server without resource metadata: the configured scopes are asked for', async () => {
    await start(
      {
        ...documentPaths,
        mcpServer: { ...documentPaths.mcpServer, metadataAt: [], challenge: () => undefined },
      },
      (issuer) => fromDocument('With DCR (Minimal Config)', issuer),
    )
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect(page.status).toBe(200)
    const authorize = page.hops.find(({ url }) => url.includes('/authorize?'))
    expect(new URL(authorize?.url ?? '').searchParams.get('scope')).toMatch(/^read write/)
  })

  it('manual: the configured client is used, and nothing is registered', async () => {
    const port = await freePort()
    await start(
      {
        ...documentPaths,
        authorizationServer: {
          ...documentPaths.authorizationServer,
          clients: [
            {
              client_id: 'manual-client-id',
              client_secret: 'manual-secret',
              redirect_uris: [`http://localhost:${port}/api/oauth/callback`],
              grant_types: ['authorization_code', 'refresh_token'],
              response_types: ['code'],
              application_type: 'native',
              token_endpoint_auth_method: 'client_secret_basic',
            },
          ],
        },
      },
      (issuer) => fromDocument('Without DCR (Manual Config)', issuer),
      () => ({}),
      { port },
    )
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect(page.status).toBe(200)
    expect(world.authorizationServer.count('POST', '/register')).toBe(0)
    const authorize = page.hops.find(({ url }) => url.includes('/authorize?'))
    expect(new URL(authorize?.url ?? '').searchParams.get('client_id')).toBe('manual-client-id')
  })
})

async function freePort(): Promise<number> {
  const server = await startAuthorizationServer()
  await server.close()
  return server.port
}

describe('which client is used (SPEC 15)', () => {
  it('the static one wins where registration is offered too (FIELD-NOTES 12)', async () => {
    await start({}, () => ({ clientId: 'by-hand' }))
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(new URL(page.location ?? '').searchParams.get('client_id')).toBe('by-hand')
    expect(world.authorizationServer.count('POST', '/reg')).toBe(0)
  })

  const cimd: WorldOptions = {
    authorizationServer: {
      metadata: (document) => ({ ...document, client_id_metadata_document_supported: true }),
    },
  }

  it('a client metadata document where the issuer supports it and the base URL is https', async () => {
    await start(
      cimd,
      () => ({}),
      () => ({ baseUrl: 'https://gateway.example.com', encryptionKey: 'k'.repeat(32) }),
    )
    const visitor = createPerson({ hosts: { 'https://gateway.example.com': gateway.url } })
    visitor.setCookie('https://gateway.example.com', 'user=alice; Path=/')
    const page = await visitor.open('https://gateway.example.com/mcp/notes/page')
    const clientId = new URL(page.location ?? '').searchParams.get('client_id')
    expect(clientId).toBe('https://gateway.example.com/api/oauth/client.json')
    const document = await visitor.fetch(clientId ?? '')
    expect([document.status, document.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(document.text.length).toBeLessThan(5000)
    expect(JSON.parse(document.text)).toEqual({
      client_id: clientId,
      client_name: 'MCP Gateway',
      application_type: 'web',
      redirect_uris: ['https://gateway.example.com/api/oauth/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    })
  })

  it('the document named by clientMetadataUrl, also on loopback', async () => {
    await start(
      cimd,
      () => ({}),
      () => ({ clientMetadataUrl: 'https://www.example.com/client.json' }),
    )
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(new URL(page.location ?? '').searchParams.get('client_id')).toBe(
      'https://www.example.com/client.json',
    )
  })

  it('registration on loopback, where no document could be fetched', async () => {
    await start(cimd, () => ({}))
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    expect((await alice.fetch(`${gateway.url}/api/oauth/client.json`)).status).toBe(404)
  })

  it('none: an error that says what to set and which callback URL to register (FIELD-NOTES 11)', async () => {
    await start({ authorizationServer: { registration: false } }, () => ({}))
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(page.status).toBe(502)
    for (const part of [
      'Registration endpoint not found',
      'oauthConfig.clientId',
      'oauthConfig.clientSecret',
      `${gateway.url}/api/oauth/callback`,
    ]) {
      expect(page.text).toContain(part)
    }
    const answer = await alice.fetch(`${gateway.url}/mcp/notes`, { method: 'POST' })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([502, 'application/problem+json'])
    expect(JSON.parse(answer.text)).toMatchObject({
      code: 'registration_endpoint_not_found',
      title: 'Registration endpoint not found',
    })
  })

  it('registers with an initial access token', async () => {
    await start({ authorizationServer: { initialAccessToken: 'initial-token' } }, () => ({
      initialAccessToken: async () => 'initial-token',
    }))
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })
})

describe('what a server’s oauthConfig adds', () => {
  it('authorizationParams, resource and scopes go where they belong (FIELD-NOTES 21)', async () => {
    await start({ mcpServer: { metadata: { scopes_supported: undefined } } }, () => ({
      authorizationParams: { audience: 'https://api', access_type: 'offline' },
      resource: false,
      scopes: ['mcp:read'],
    }))
    const { location } = await alice.open(`${gateway.url}/mcp/notes/page`)
    const parameters = new URL(location ?? '').searchParams
    expect([parameters.get('audience'), parameters.get('access_type'), parameters.has('resource')]).toEqual([
      'https://api',
      'offline',
      false,
    ])
    expect(parameters.get('scope')).toBe('mcp:read offline_access')
  })
})
