import * as openid from 'openid-client'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { startAuthorizationServer } from './authorization-server.js'
import { bearer, callTool } from './call-tool.js'
import { startWorld, type World } from './gateway.js'
import { startMcpServer } from './mcp-server.js'
import { createPerson } from './person.js'
import { registerClient, REDIRECT_URI, signInWith } from './sign-up.js'

const printed = (['log', 'info', 'warn', 'error'] as const).map((it) => vi.spyOn(console, it))
let world: World
beforeAll(async () => {
  world = await startWorld({ authorizationServer: { ownClients: true } })
})
afterAll(() => world.close())
afterEach(() => {
  const { authorizationServer } = world
  expect(authorizationServer.errors).toEqual([])
  authorizationServer.intercept = undefined
  for (const print of printed) expect(print).not.toHaveBeenCalled()
})

const scope = 'mcp:read'
const signedUp = async () => {
  const config = await registerClient(world.authorizationServer)
  const resource = world.mcpServer.resource
  return { config, resource, tokens: await signInWith(config, { resource, scope }) }
}
describe('the whole way', () => {
  it('registers, signs a person in, and calls a tool with the token', async () => {
    const { config, tokens } = await signedUp()
    expect(world.authorizationServer.registrations()).toBeGreaterThan(0)
    expect(config.clientMetadata().client_secret).toBeUndefined()
    expect(tokens.scope).toBe('mcp:read')
    expect(tokens.expires_in).toBe(3600)
    expect((await callTool(world.mcpServer.url, bearer(tokens.access_token), 'whoami')).text).toBe('alice')
    expect(
      (await callTool(world.mcpServer.url, bearer(tokens.access_token), 'add', { a: 2, b: 3 })).text,
    ).toBe('5')
  })

  it('works with a registered secret', async () => {
    const config = await registerClient(world.authorizationServer, {
      token_endpoint_auth_method: 'client_secret_basic',
    })
    const basic = new openid.Configuration(
      config.serverMetadata(),
      config.clientMetadata().client_id,
      config.clientMetadata(),
      openid.ClientSecretBasic(config.clientMetadata().client_secret),
    )
    openid.allowInsecureRequests(basic)
    const tokens = await signInWith(basic, { resource: world.mcpServer.resource, scope })
    expect(tokens.refresh_token).toEqual(expect.any(String))
  })

  it('streams progress from a server with sessions', async () => {
    const mcpServer = await world.addMcpServer({ sessions: true, answerAs: 'event-stream' })
    const config = await registerClient(world.authorizationServer)
    const tokens = await signInWith(config, { resource: mcpServer.resource, scope })
    const counted = await callTool(mcpServer.url, bearer(tokens.access_token), 'count', { to: 3 })
    expect(counted).toEqual({ text: 'counted to 3', progress: [1, 2, 3] })
  })
})

describe('the authorization server', () => {
  it('rotates refresh tokens, and revokes the family when an old one is used', async () => {
    const { config, resource, tokens } = await signedUp()
    const first = tokens.refresh_token!
    const refreshed = await openid.refreshTokenGrant(config, first, { resource })
    expect(refreshed.refresh_token).not.toBe(first)
    expect((await callTool(world.mcpServer.url, bearer(refreshed.access_token), 'whoami')).text).toBe('alice')

    const invalidGrant = { error: 'invalid_grant' }
    await expect(openid.refreshTokenGrant(config, first, { resource })).rejects.toMatchObject(invalidGrant)
    await expect(
      openid.refreshTokenGrant(config, refreshed.refresh_token!, { resource }),
    ).rejects.toMatchObject(invalidGrant)
  })

  it('RFC 7009: revokes a refresh token', async () => {
    const { config, resource, tokens } = await signedUp()
    await openid.tokenRevocation(config, tokens.refresh_token!)
    await expect(openid.refreshTokenGrant(config, tokens.refresh_token!, { resource })).rejects.toMatchObject(
      { error: 'invalid_grant' },
    )
  })

  it('RFC 7592: reads, updates with a new registration access token, and deletes', async () => {
    const { authorizationServer } = world
    const before = authorizationServer.registrations()
    const registered = (await registerClient(authorizationServer)).clientMetadata()
    const uri = String(registered.registration_client_uri)
    const token = String(registered.registration_access_token)

    const read = await fetch(uri, bearer(token))
    expect([read.status, await read.json()]).toMatchObject([200, { client_name: 'A plain client' }])

    const update = await fetch(uri, {
      method: 'PUT',
      headers: { ...bearer(token).headers, 'content-type': 'application/json' },
      body: JSON.stringify({
        client_id: registered.client_id,
        client_name: 'Renamed',
        redirect_uris: [REDIRECT_URI],
        token_endpoint_auth_method: 'none',
      }),
    })
    const updated = (await update.json()) as { client_name: string; registration_access_token: string }
    expect([update.status, updated.client_name]).toEqual([200, 'Renamed'])
    expect((await fetch(uri, bearer(token))).status).toBe(401)

    const deleted = await fetch(uri, { method: 'DELETE', ...bearer(updated.registration_access_token) })
    expect([deleted.status, authorizationServer.registrations()]).toEqual([204, before])
  })

  it('says access_denied when the person denies', async () => {
    const config = await registerClient(world.authorizationServer)
    await expect(
      signInWith(config, { resource: world.mcpServer.resource, scope }, { decision: 'deny' }),
    ).rejects.toMatchObject({ error: 'access_denied' })
  })

  it('remembers who signed in, and asks only for consent the second time', async () => {
    const { config, resource } = await signedUp()
    const person = createPerson()
    await signInWith(config, { resource, scope }, { person, login: 'bob' })
    const second = await registerClient(world.authorizationServer, { client_name: '<b>"Second"</b>' })
    const url = openid.buildAuthorizationUrl(second, {
      redirect_uri: REDIRECT_URI,
      scope,
      resource,
      code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
    })
    const page = await person.follow(url)
    expect(page.text).toContain('<h1>Consent</h1>')
    expect(page.text).toContain('Signed in as bob')
    expect(page.text).toContain('&lt;b&gt;&quot;Second&quot;&lt;/b&gt;')
    expect(page.text).not.toContain('<b>')
  })

  it('lets one browser have two sign-ins open, and finish both', async () => {
    const { resource } = await signedUp()
    const config = await registerClient(world.authorizationServer)
    const person = createPerson()
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT_URI,
      scope,
      resource,
      code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
    })
    const until = (it: URL) => it.href.startsWith(REDIRECT_URI)
    const [one, two] = [await person.follow(url), await person.follow(url)]
    const finish = async (page: typeof one) => {
      const consent = await person.submit(page, { login: 'alice', password: 'x' })
      return person.submit(consent, { decision: 'allow' }, { until })
    }
    expect((await finish(two)).location).toContain('code=')
    expect((await finish(one)).location).toContain('code=')
  })

  it('gives the default scope to a request without one', async () => {
    const config = await registerClient(world.authorizationServer)
    const tokens = await signInWith(config, { resource: world.mcpServer.resource })
    expect(tokens.scope).toBe('mcp:read')
  })

  it('can fail on purpose, seeing the body, and counts what it was asked', async () => {
    const { authorizationServer } = world
    const { config, resource, tokens } = await signedUp()
    authorizationServer.requests.length = 0
    authorizationServer.intercept = (_req, res, { path, form }) => {
      if (path !== '/token' || form.get('grant_type') !== 'refresh_token') return false
      res.writeHead(503).end('down')
      return true
    }
    await expect(openid.refreshTokenGrant(config, tokens.refresh_token!, { resource })).rejects.toThrow()
    expect(authorizationServer.requests).toMatchObject([{ method: 'POST', path: '/token', status: 503 }])

    authorizationServer.intercept = undefined
    await openid.refreshTokenGrant(config, tokens.refresh_token!, { resource })
    expect(authorizationServer.count('POST', '/token')).toBe(2)
    expect(authorizationServer.requests[1]?.form.get('resource')).toBe(resource)
  })

  it('forgets a client: invalid_client', async () => {
    const { config, resource, tokens } = await signedUp()
    world.authorizationServer.forgetClient(config.clientMetadata().client_id)
    const refused = openid.refreshTokenGrant(config, tokens.refresh_token!, { resource })
    await expect(refused).rejects.toMatchObject({ cause: expect.anything() })
    expect(world.authorizationServer.requests.at(-1)).toMatchObject({ path: '/token', status: 401 })
  })

  it.each(['', '/tenant1', '/'])('serves its metadata for the issuer path "%s"', async (path) => {
    const server = await startAuthorizationServer({
      path,
      ownClients: true,
      initialAccessToken: 'let-me-in',
      metadata: (document) => ({ ...document, extra: true }),
    })
    const prefix = path.replace(/\/$/, '')
    for (const at of [
      `/.well-known/oauth-authorization-server${prefix}`,
      `/.well-known/openid-configuration${prefix}`,
      `${prefix}/.well-known/openid-configuration`,
    ]) {
      expect(await (await fetch(server.url + at)).json()).toMatchObject({
        issuer: server.url + path,
        registration_endpoint: `${server.url}${prefix}/reg`,
        authorization_endpoint: `${server.url}${prefix}/auth`,
        code_challenge_methods_supported: ['S256'],
        authorization_response_iss_parameter_supported: true,
        scopes_supported: ['openid', 'offline_access', 'mcp:read', 'mcp:write', 'read', 'write'],
        extra: true,
      })
    }
    await expect(registerClient(server)).rejects.toThrow()
    const config = await registerClient(server, {}, { initialAccessToken: 'let-me-in' })
    expect(server.count('POST', '/reg')).toBe(2)
    const mcpServer = await startMcpServer({ issuer: server.issuer })
    const tokens = await signInWith(config, { resource: mcpServer.resource, scope })
    expect((await callTool(mcpServer.url, bearer(tokens.access_token), 'whoami')).text).toBe('alice')
    await Promise.all([server.close(), mcpServer.close()])
  })

  it('refuses a resource that it does not know, and needs offline_access where told so', async () => {
    const { mcpServer } = world
    const server = await startAuthorizationServer({
      resources: [mcpServer.resource],
      refreshTokens: 'offline_access',
      clients: [{ client_id: 'by-hand', client_secret: 's'.repeat(32), redirect_uris: [REDIRECT_URI] }],
    })
    const config = await openid.discovery(new URL(server.issuer), 'by-hand', 's'.repeat(32), undefined, {
      execute: [openid.allowInsecureRequests],
      algorithm: 'oauth2',
    })
    await expect(signInWith(config, { resource: 'https://other.example/mcp', scope })).rejects.toMatchObject({
      error: 'invalid_target',
    })
    const tokens = await signInWith(config, { resource: mcpServer.resource, scope })
    expect(tokens.refresh_token).toBeUndefined()
    expect(server.registrations()).toBe(0)
    await server.close()
  })
})
