import { describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import { providerProfiles } from '../../src/providers/index.js'
import type { AuthorizationServer } from '../support/authorization-server.js'
import type { WorldOptions } from '../support/gateway.js'
import { startGateway, type Gateway } from './support.js'

const { auth0 } = providerProfiles

/** A tenant as documented: an issuer with a slash, its own paths, and `audience` where others take `resource`. */
const TENANT: WorldOptions = {
  authorizationServer: {
    path: '/',
    configure: (configuration) => {
      configuration.routes = {
        authorization: '/authorize',
        token: '/oauth/token',
        registration: '/oidc/register',
      }
    },
  },
}

/** Ignores `resource`; without `audience` a third-party application is refused. */
function takeAudience(as: AuthorizationServer): void {
  as.intercept = (req, res) => {
    const url = new URL(req.url ?? '/', as.url)
    if (!url.pathname.startsWith('/authorize') || !url.searchParams.has('code_challenge')) return false
    const audience = url.searchParams.get('audience')
    url.searchParams.delete('resource')
    if (audience === null) {
      const back = new URL(url.searchParams.get('redirect_uri') ?? '')
      back.searchParams.set('error', 'invalid_request')
      back.searchParams.set(
        'error_description',
        'The userinfo audience is not allowed for third party clients. Please specify a valid API audience.',
      )
      back.searchParams.set('state', url.searchParams.get('state') ?? '')
      back.searchParams.set('iss', as.issuer)
      res.writeHead(302, { location: back.href }).end()
      return true
    }
    url.searchParams.set('resource', audience)
    req.url = url.pathname + url.search
    return false
  }
}

async function start(world: WorldOptions, oauthConfig: OAuthConfig = {}): Promise<Gateway> {
  const started = await startGateway(auth0, world, () => oauthConfig)
  takeAudience(started.world.authorizationServer)
  return started
}

const problemOf = async ({ alice, gateway }: Gateway): Promise<Record<string, string>> =>
  JSON.parse((await alice.fetch(`${gateway.url}/mcp/notes`, { method: 'POST' })).text)

describe('Auth0', () => {
  it('whose tenant registers clients works by itself: the resource goes as audience too', async () => {
    const { world, gateway, alice, authorizations } = await start(TENANT)
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
    expect(authorizations().map((sent) => sent.get('audience'))).toEqual([world.mcpServer.resource])
    expect(world.authorizationServer.count('POST', '/oidc/register')).toBe(1)
    const [registration] = world.authorizationServer.requests.filter(({ path }) => path === '/oidc/register')
    expect(JSON.parse(registration?.body ?? '')).toMatchObject({
      scope: expect.stringContaining('offline_access'),
    })
  })

  it('an audience that the server is configured with wins', async () => {
    const { gateway, alice, authorizations } = await start(TENANT, {
      authorizationParams: { audience: 'https://api.example.com' },
    })
    await alice.follow(`${gateway.url}/mcp/notes/page`)
    expect(authorizations()[0]?.get('audience')).toBe('https://api.example.com')
  })

  it('a sign-in that is refused for want of an audience says what to turn on', async () => {
    const { gateway, alice, authorizations } = await start(TENANT, { resource: false })
    const page = await alice.follow(`${gateway.url}/mcp/notes/page`)
    expect(authorizations()[0]?.has('audience')).toBe(false)
    expect(page.text).toContain('Resource Parameter Compatibility Profile')
  })

  it.each([
    ['names no registration endpoint', { registration: false }],
    ['refuses to register', { registration: true }],
  ])(
    'whose tenant does not register clients, which is the default, and %s',
    async (_name, { registration }) => {
      const started = await start({
        authorizationServer: { ...TENANT.authorizationServer, registration },
      })
      started.world.authorizationServer.intercept = (req, res) => {
        if (req.url !== '/oidc/register') return false
        res.writeHead(403, { 'content-type': 'text/plain' }).end('Forbidden')
        return true
      }
      const { code, fix = '' } = await problemOf(started)
      expect(code).toBe(registration ? 'registration_failed' : 'registration_endpoint_not_found')
      expect(fix).toMatch(/^Auth0 registers no clients until an administrator .*Dynamic Client Registration/)
      expect(fix.split('\n').slice(1)).toEqual([
        'Register an app with Auth0 by hand:',
        expect.stringMatching(/^1\. .*Regular Web Application/),
        expect.stringContaining(`2. In its settings, add ${started.gateway.url}/api/oauth/callback to`),
        expect.stringMatching(/^3\. Copy/),
        expect.stringContaining('4. Set oauthConfig.clientId (and oauthConfig.clientSecret'),
        expect.stringContaining('https://auth0.com/docs/'),
      ])
    },
  )
})
