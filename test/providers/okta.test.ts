import { describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/options.js'
import { providerProfiles } from '../../src/providers/index.js'
import { createOAuthContext, ensureClientAt, expectFailure, json, startRegistry } from '../oauth/support.js'
import { at, startGateway, type Gateway } from './support.js'

const { okta } = providerProfiles
const ORG_ENDPOINT = '/oauth2/v1/clients'

/** A custom authorization server: registration is the org's, and takes Bearer tokens of the Okta API alone. */
async function start(oauthConfig: OAuthConfig): Promise<Gateway> {
  const started = await startGateway(
    okta,
    {
      authorizationServer: {
        path: '/oauth2/default',
        initialAccessToken: 'an-access-token-of-the-okta-api',
        metadata: ({ registration_endpoint: _, ...document }) => document,
        configure: (configuration) => {
          configuration.routes = { authorization: '/v1/authorize', token: '/v1/token' }
        },
      },
    },
    () => oauthConfig,
  )
  const as = started.world.authorizationServer
  as.intercept = (req, res, { authorization }) => {
    if (req.url !== ORG_ENDPOINT) return false
    if (authorization === 'Bearer an-access-token-of-the-okta-api') {
      req.url = '/oauth2/default/reg'
      return false
    }
    const error = { errorCode: 'E0000011', errorSummary: 'Invalid token provided', errorLink: 'E0000011' }
    res.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(error))
    return true
  }
  return started
}

const registrations = ({ world }: Gateway): number =>
  world.authorizationServer.count('POST', /^\/oauth2\/v1\/clients$/)

const problemOf = async ({ alice, gateway }: Gateway): Promise<Record<string, string>> =>
  JSON.parse((await alice.fetch(`${gateway.url}/mcp/notes`, { method: 'POST' })).text)

describe('Okta', () => {
  it('registers at the org’s URL, with an initial access token', async () => {
    const started = await start({ initialAccessToken: async () => 'an-access-token-of-the-okta-api' })
    const { alice, gateway, world } = started
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
    expect(registrations(started)).toBe(1)
    const [first] = world.authorizationServer.requests
    expect(first?.path).toBe('/oauth2/default/.well-known/openid-configuration')
  })

  it('is not asked to register without one: the answer is how to get it, and the way by hand', async () => {
    const started = await start({})
    const { code, detail = '', fix = '' } = await problemOf(started)
    expect([code, registrations(started)]).toEqual(['registration_failed', 0])
    expect(detail).toContain('Okta registers clients only with an initial access token')
    expect(fix).toContain('okta.clients.manage')
    expect(fix).toContain(
      `2. Select the grant types Authorization Code and Refresh Token, and add ${started.gateway.url}/api/oauth/callback to the Sign-in redirect URIs.`,
    )
  })

  it('refuses a token that is no good, and the way by hand remains', async () => {
    const started = await start({ initialAccessToken: 'an-SSWS-token' })
    const { code, detail = '', fix = '' } = await problemOf(started)
    expect([code, registrations(started)]).toEqual(['registration_failed', 1])
    expect(detail).toContain('status 401')
    expect(fix).toMatch(/^Register an app with Okta by hand:\n1\. /)
    expect(fix + detail).not.toContain('SSWS-token')
  })

  it('a client that was registered is used, also when the token is no longer configured', async () => {
    const registry = await startRegistry(json({ client_id: 'c1' }, 201))
    const context = createOAuthContext({ providers: [at(okta, registry.url)] })
    const ensure = (oauthConfig: OAuthConfig): ReturnType<typeof ensureClientAt> =>
      ensureClientAt(context, registry.url, { oauthConfig })
    await expectFailure(ensure({}), 'registration_failed', 'initial access token')
    expect(await ensure({ initialAccessToken: 'a-token' })).toMatchObject({ clientId: 'c1' })
    expect(await ensure({})).toMatchObject({ clientId: 'c1' })
    expect(registry.asked()).toEqual(['POST /register'])
  })
})
