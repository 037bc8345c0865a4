import { describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import { providerProfiles } from '../../src/providers/index.js'
import { startGateway, type Gateway } from './support.js'

const { keycloak } = providerProfiles
const ENDPOINT = '/realms/acme/clients-registrations/openid-connect'

/** A realm; its policies for anonymous registration refuse with this. */
async function start(policy: string | undefined, oauthConfig: OAuthConfig = {}): Promise<Gateway> {
  const started = await startGateway(
    keycloak,
    {
      authorizationServer: {
        path: '/realms/acme',
        configure: (configuration) => {
          configuration.routes = {
            authorization: '/protocol/openid-connect/auth',
            token: '/protocol/openid-connect/token',
            registration: '/clients-registrations/openid-connect',
          }
        },
      },
    },
    () => oauthConfig,
  )
  const as = started.world.authorizationServer
  as.intercept = (req, res, { method, authorization }) => {
    // RFC 8414's places came to Keycloak late.
    const isOlder = req.url?.startsWith('/.well-known/') === true
    if (isOlder) res.writeHead(404).end()
    const isAnonymous = method === 'POST' && req.url === ENDPOINT && authorization === undefined
    if (!isAnonymous || policy === undefined) return isOlder
    const error = {
      error: 'insufficient_scope',
      error_description: `Policy '${policy}' rejected request to client-registration service. Details: Host not trusted.`,
    }
    res.writeHead(403, { 'content-type': 'application/json' }).end(JSON.stringify(error))
    return true
  }
  return started
}

describe('Keycloak', () => {
  it('whose realm lets this host register works by itself; its metadata is found at once', async () => {
    const { world, gateway, alice } = await start(undefined)
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
    const { requests } = world.authorizationServer
    expect(requests[0]?.path).toBe('/realms/acme/.well-known/openid-configuration')
    expect(requests.filter(({ method, path }) => method === 'POST' && path === ENDPOINT)).toHaveLength(1)
  })

  it('is asked with an initial access token where one is configured', async () => {
    const { world, gateway, alice } = await start('Trusted Hosts', { initialAccessToken: 'from-the-console' })
    // Without `initialAccessToken` of its own, oidc-provider takes any registration: the gate is the policy.
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    const sent = world.authorizationServer.requests.find(({ path }) => path === ENDPOINT)
    expect(sent?.authorization).toBe('Bearer from-the-console')
  })

  it.each([
    ['Trusted Hosts', 'Anonymous access policies > Trusted Hosts'],
    ['Allowed Client Scopes', 'Anonymous access policies > Allowed Client Scopes'],
    ['Max Clients Limit', 'raise the limit'],
  ])('whose policy %s refuses: what it said, and what to change', async (policy, where) => {
    const { gateway, alice } = await start(policy)
    const answer = await alice.fetch(`${gateway.url}/mcp/notes`, { method: 'POST' })
    const { code, detail = '', fix = '' } = JSON.parse(answer.text) as Record<string, string>
    expect([code, detail]).toEqual(['registration_failed', expect.stringContaining(`Policy '${policy}'`)])
    const lines = fix.split('\n')
    expect(lines[0]).toContain(where)
    expect(lines[1]).toMatch(/^Create an initial access token in the Admin Console/)
    expect(lines.slice(2, 5)).toEqual([
      'Register an app with Keycloak by hand:',
      expect.stringMatching(/^1\. /),
      expect.stringContaining(`${gateway.url}/api/oauth/callback`),
    ])
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(page.text).toContain(where.replaceAll('>', '&gt;'))
  })
})
