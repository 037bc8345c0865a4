import { describe, expect, it } from 'vitest'
import { providerProfiles } from '../../src/providers/index.js'
import { refresh } from '../../src/oauth/refresh.js'
import { ASM, CALLBACK, expectFailure, json, metadataOf, startFake, text } from '../oauth/support.js'
import { at, protocol, startFakeProvider, startGateway, type FakeProvider } from './support.js'

const { github } = providerProfiles
const FORM = 'application/x-www-form-urlencoded'
const APP = { clientId: 'Iv1.0123456789', clientSecret: 'the-secret' }

/** Metadata that names neither a registration endpoint nor a way of client authentication. */
const metadata = (url: string): Record<string, unknown> => ({
  ...metadataOf(`${url}/login/oauth`, {
    authorization_endpoint: `${url}/authorize`,
    token_endpoint: `${url}/token`,
    registration_endpoint: undefined,
    token_endpoint_auth_methods_supported: undefined,
  }),
})

/** Errors come with a 200; without `Accept: application/json`, everything is form-encoded. */
async function start(answer: Record<string, string>, back?: Record<string, string>): Promise<FakeProvider> {
  return startFakeProvider(
    (url) => ({
      [`${ASM}/login/oauth`]: json(metadata(url)),
      '/token': (res, request) =>
        (request.headers.accept?.includes('application/json') === true
          ? json(answer)
          : text(new URLSearchParams(answer).toString(), FORM))(res, request),
    }),
    back === undefined ? undefined : () => back,
  )
}

async function connect(as: FakeProvider, oauthConfig = {}) {
  const issuer = `${as.url}/login/oauth`
  const mcp = await as.mcpServer([issuer], ['repo', 'read:org'])
  return protocol(at(github, issuer), mcp.url, oauthConfig)
}

describe('GitHub', () => {
  it('has no registration: the answer is how to make an OAuth app, on the page too', async () => {
    const as = await start({})
    const { signIn } = await connect(as)
    const { message, fix = '' } = await expectFailure(signIn(), 'registration_endpoint_not_found')
    expect(message).toBe('GitHub has no dynamic client registration.')
    expect(fix.split('\n')).toEqual([
      'Register an app with GitHub by hand:',
      expect.stringMatching(/^1\. .*Settings > Developer settings > OAuth apps/),
      `2. Enter http://localhost:3000 as Homepage URL and ${CALLBACK} as Authorization callback URL, then Register application.`,
      expect.stringMatching(/^3\. /),
      expect.stringContaining('4. Set oauthConfig.clientId'),
      expect.stringContaining('https://docs.github.com/'),
    ])
    expect(as.asked().filter((line) => line.startsWith('POST'))).toEqual([])
  })

  it('shows the steps as lines on the error page', async () => {
    const { gateway, alice } = await startGateway(github, { authorizationServer: { registration: false } })
    const page = await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(page.text).toContain(`\n2. Enter ${gateway.url} as Homepage URL`)
    expect(page.text).toMatch(/<p class="lines">Register an app with GitHub by hand:\n1\. /)
  })

  it('signs in with an app; its tokens neither expire nor refresh, and the credentials go in the body', async () => {
    const as = await start({ access_token: 'gho_1', scope: 'repo,read:org', token_type: 'bearer' })
    const { signIn } = await connect(as, APP)
    const connection = await signIn()
    expect(connection).toMatchObject({ status: 'connected', accessToken: 'gho_1', clientSource: 'static' })
    expect([connection.expiresAt, connection.refreshToken]).toEqual([undefined, undefined])
    const [sent] = as.tokenRequests()
    expect(Object.fromEntries(sent?.form ?? [])).toMatchObject({
      client_id: APP.clientId,
      client_secret: APP.clientSecret,
    })
    expect(sent?.authorization).toBeUndefined()
    expect(as.authorizations[0]?.get('scope')).toBe('repo read:org')
  })

  it('an expiring token (of a GitHub App) is refreshed', async () => {
    const tokens = { token_type: 'bearer', expires_in: '28800', refresh_token_expires_in: '15811200' }
    const as = await start({ ...tokens, access_token: 'ghu_1', refresh_token: 'ghr_1' })
    const { context, server, signIn } = await connect(as, APP)
    const connection = await signIn()
    expect(await refresh(context, server, connection)).toMatchObject({ obtainedBy: 'refresh' })
    expect(as.tokenRequests()[1]?.form.get('refresh_token')).toBe('ghr_1')
  })

  it('a 200 with an error is an error', async () => {
    const as = await start({ error: 'bad_verification_code', error_description: 'incorrect or expired' })
    const { signIn } = await connect(as, APP)
    await expectFailure(signIn(), 'token_request_failed', 'bad_verification_code')
  })

  it('a callback URL that the app does not have is a refusal with the one to enter', async () => {
    const as = await start(
      {},
      { error: 'redirect_uri_mismatch', error_description: 'The redirect_uri MUST match' },
    )
    const { signIn } = await connect(as, APP)
    const { fix } = await expectFailure(signIn(), 'authorization_failed', 'redirect_uri_mismatch')
    expect(fix).toContain(CALLBACK)
  })

  it('by its endpoints alone, as in the README, is known too', async () => {
    const as = await startFake()
    const mcp = await startFake()
    const urls = {
      authorizationUrl: `${as.url}/login/oauth/authorize`,
      tokenUrl: `${as.url}/login/oauth/access_token`,
    }
    const { begin } = protocol(at(github, as.url), mcp.url, urls)
    const { fix } = await expectFailure(begin(), 'registration_endpoint_not_found')
    expect(fix).toContain('Register an app with GitHub by hand')
    const { url } = await protocol(at(github, as.url), mcp.url, { ...urls, ...APP, scopes: 'repo' }).begin()
    expect([url.searchParams.get('client_id'), url.searchParams.get('scope')]).toEqual([APP.clientId, 'repo'])
  })
})
