import { describe, expect, it } from 'vitest'
import { refresh } from '../../src/oauth/refresh.js'
import type { OAuthConfig } from '../../src/options.js'
import { providerProfiles } from '../../src/providers/index.js'
import { CALLBACK, expectFailure, json, metadataOf, OIDC } from '../oauth/support.js'
import { at, protocol, startFakeProvider, type FakeProvider, type Protocol } from './support.js'

const { google } = providerProfiles
const APP = { clientId: '1.apps.googleusercontent.com', clientSecret: 'GOCSPX-secret' }
const ACCESS = { access_token: 'ya29.1', expires_in: 3599, token_type: 'Bearer' }

/** OpenID Connect Discovery; a refresh token for offline access that was consented to, and never again. */
function start(): Promise<FakeProvider> {
  const fake: Promise<FakeProvider> = startFakeProvider(
    (url) => ({
      [OIDC]: json(
        metadataOf(url, {
          registration_endpoint: undefined,
          token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
          scopes_supported: ['openid', 'email', 'profile'],
          authorization_response_iss_parameter_supported: true,
        }),
      ),
      '/token': (res, request) => {
        void fake.then(({ authorizations }) => {
          const asked = authorizations.at(-1)
          const isOffline = asked?.get('access_type') === 'offline' && asked.get('prompt') === 'consent'
          const isFirst = request.form.get('grant_type') === 'authorization_code'
          json({ ...ACCESS, ...(isOffline && isFirst && { refresh_token: '1//once' }) })(res, request)
        })
      },
    }),
    (_parameters, url) => ({ code: '4/code', iss: url }),
  )
  return fake
}

/** Its MCP servers name the issuer with a slash. */
async function connect(as: FakeProvider, oauthConfig: OAuthConfig = {}): Promise<Protocol> {
  const mcp = await as.mcpServer([`${as.url}/`], ['https://www.googleapis.com/auth/calendar'])
  return protocol(at(google, as.url), mcp.url, oauthConfig)
}

describe('Google', () => {
  it('has no registration: the answer is how to make an OAuth client', async () => {
    const as = await start()
    const { signIn } = await connect(as)
    const { message, fix } = await expectFailure(signIn(), 'registration_endpoint_not_found')
    expect(message).toBe('Google has no dynamic client registration.')
    expect(fix).toContain(`3. Add ${CALLBACK} to the Authorized redirect URIs, then Create.`)
    expect(fix).toContain('https://developers.google.com/')
    expect(as.asked()).toEqual([`GET ${OIDC}`])
  })

  it('is asked for offline access, so that the connection outlives the hour; the refresh token is kept (FIELD-NOTES 22)', async () => {
    const as = await start()
    const { context, server, signIn } = await connect(as, APP)
    const connection = await signIn()
    expect(connection).toMatchObject({ accessToken: 'ya29.1', refreshToken: '1//once' })
    const [asked] = as.authorizations
    expect([asked?.get('access_type'), asked?.get('prompt')]).toEqual(['offline', 'consent'])
    const again = await refresh(context, server, connection)
    expect(again).toMatchObject({ obtainedBy: 'refresh', refreshToken: '1//once' })
  })

  it('what the server is configured with wins, one parameter at a time', async () => {
    const as = await start()
    const { begin } = await connect(as, { ...APP, authorizationParams: { prompt: 'select_account' } })
    const { searchParams } = (await begin()).url
    expect([searchParams.get('access_type'), searchParams.get('prompt')]).toEqual([
      'offline',
      'select_account',
    ])
  })
})
