import { describe, expect, it } from 'vitest'
import { refresh } from '../../src/oauth/refresh.js'
import { providerProfiles } from '../../src/providers/index.js'
import { ASM, CALLBACK, expectFailure, json, metadataOf, startFake } from '../oauth/support.js'
import { at, protocol, startFakeProvider, TOKENS } from './support.js'

const { linear } = providerProfiles
const APP = { clientId: 'linear-app', clientSecret: 'the-secret' }

describe('Linear', () => {
  it('by an OAuth app: without one, the answer is how to make it', async () => {
    const [as, mcp] = await Promise.all([startFake(), startFake()])
    const urls = { authorizationUrl: `${as.url}/oauth/authorize`, tokenUrl: `${as.url}/oauth/token` }
    const { begin } = protocol(at(linear, as.url), mcp.url, urls)
    const { fix = '' } = await expectFailure(begin(), 'registration_endpoint_not_found')
    expect(fix.split('\n')).toEqual([
      'Register an app with Linear by hand:',
      expect.stringMatching(/^1\. .*Settings > API > OAuth applications/),
      `2. Add ${CALLBACK} to its Callback URLs, then Create.`,
      expect.stringMatching(/^3\. /),
      expect.stringContaining('4. Set oauthConfig.clientId'),
      expect.stringContaining('https://linear.app/developers/'),
    ])
  })

  it('by an OAuth app: signs in, with the credentials in the body; the token is refreshed', async () => {
    const as = await startFakeProvider(() => ({
      '/token': json({ ...TOKENS, scope: 'read write', expires_in: 86_399 }),
    }))
    const mcp = await startFake()
    const { context, server, signIn } = protocol(at(linear, as.url), mcp.url, {
      ...APP,
      authorizationUrl: `${as.url}/authorize`,
      tokenUrl: `${as.url}/token`,
      scopes: 'read,write',
    })
    const connection = await signIn()
    expect(connection).toMatchObject({ accessToken: 'the-token', scope: 'read write' })
    // Scopes are separated by commas here: as one token they go through unchanged.
    expect(as.authorizations[0]?.get('scope')).toBe('read,write')
    await refresh(context, server, connection)
    for (const { form, authorization } of as.tokenRequests()) {
      expect([form.get('client_id'), form.get('client_secret')]).toEqual([APP.clientId, APP.clientSecret])
      expect(authorization).toBeUndefined()
    }
    expect(as.tokenRequests()).toHaveLength(2)
  })

  it('by its MCP server: registers by itself, with the scope; the client id goes with a refresh', async () => {
    const as = await startFakeProvider((url) => ({
      [ASM]: json(metadataOf(url)),
      '/register': json({ client_id: 'dcr', token_endpoint_auth_method: 'none' }, 201),
      '/token': json(TOKENS),
    }))
    const mcp = await as.mcpServer([as.url], ['read', 'write'])
    const { context, server, signIn } = protocol(at(linear, as.url), mcp.url)
    const connection = await signIn()
    expect(connection).toMatchObject({ status: 'connected', clientSource: 'dynamic', clientId: 'dcr' })
    const registration = as.requests.find(({ path }) => path === '/register')
    expect(JSON.parse(registration?.body ?? '')).toMatchObject({ scope: 'read write' })
    await refresh(context, server, connection)
    expect(as.tokenRequests()[1]?.form.get('client_id')).toBe('dcr')
  })
})
