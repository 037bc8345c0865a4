import { describe, expect, it } from 'vitest'
import {
  CALLBACK,
  expectFailure,
  json,
  redirectTo,
  registrationsOf,
  SILENCE,
  startRegistry,
  status,
  text,
  TOO_LARGE,
  type Reply,
} from './support.js'

describe('a refused registration (RFC 7591 §3.2.2, SPEC 19)', () => {
  it.each([
    ['invalid_redirect_uri', CALLBACK],
    ['invalid_client_metadata', 'oauthConfig.clientMetadata'],
    ['invalid_software_statement', 'oauthConfig.softwareStatement'],
    ['unapproved_software_statement', 'approve the software statement'],
  ] as const)('as %s says so, with what the server said', async (error, fix) => {
    for (const [code, body] of [
      [400, { error, error_description: 'because\n\u001b[31mof this' }],
      [200, { error, error_description: 'because of this' }],
      [422, { error, error_description: null }],
    ] as const) {
      const registry = await startRegistry(json(body, code))
      const failed = await expectFailure(registry.ensure(), error, error)
      expect(failed.fix).toContain(fix)
      if (body.error_description !== null) expect(failed.message).toMatch(/because .*of this/)
      // A refused value is left out once: here, the method.
      const tries = error === 'invalid_client_metadata' ? 2 : 1
      expect(registry.asked()).toEqual(Array(tries).fill('POST /register'))
      expect(await registrationsOf(registry.context)).toEqual([])
    }
  })

  it.each<[string, Reply, Parameters<typeof expectFailure>[1], RegExp, RegExp]>([
    [
      '403 in plain text (Figma)',
      text('Forbidden hush-body', 'text/plain', 403),
      'registration_failed',
      /status 403/,
      /allow-list/,
    ],
    [
      '403 as an OAuth error (Keycloak)',
      json({ error: 'insufficient_scope', error_description: 'Policy Trusted Hosts rejected' }, 403),
      'registration_failed',
      /403.*Trusted Hosts/,
      /initialAccessToken/,
    ],
    [
      '401 with a challenge',
      status(401, { 'www-authenticate': 'Bearer error="invalid_token", error_description="no\\"pe"' }),
      'registration_failed',
      /401.*invalid_token/,
      /initialAccessToken/,
    ],
    ['401 without anything', status(401), 'registration_failed', /status 401/, /initialAccessToken/],
    ['404', status(404), 'registration_failed', /status 404/, /oauthConfig\.clientId/],
    [
      'another OAuth error',
      json({ error: 'access_denied' }, 400),
      'registration_failed',
      /access_denied/,
      /oauthConfig\.clientId/,
    ],
    [
      'an error that is no string',
      json({ error: { message: 'hush-body' } }, 400),
      'registration_failed',
      /status 400/,
      /oauthConfig\.clientId/,
    ],
    [
      '429',
      json({ error: 'slow_down' }, 429, { 'retry-after': '60' }),
      'registration_failed',
      /status 429/,
      /Try again/,
    ],
    [
      '500 in HTML',
      text('<h1>hush-body</h1>', 'text/html', 500),
      'registration_failed',
      /status 500/,
      /Try again/,
    ],
    ['503, empty', status(503), 'registration_failed', /status 503/, /Try again/],
    [
      'a redirect',
      redirectTo('https://evil.example/?c=hush-body'),
      'redirect_refused',
      /register redirects/,
      /redirects to/,
    ],
    ['a 307', status(307, { location: '/again' }), 'redirect_refused', /register redirects/, /redirects to/],
  ])('by %s', async (_name, reply, code, says, fix) => {
    const registry = await startRegistry(reply)
    const error = await expectFailure(registry.ensure(), code, says, ['hush-body'])
    expect(error.fix).toMatch(fix)
    expect(registry.asked()).toEqual(['POST /register'])
    // A proxy may have answered for a server that did register: the marker says so to the next sign-in.
    const markers = says.source.includes('status 5') ? ['registering'] : []
    expect((await registrationsOf(registry.context)).map((it) => it.status)).toEqual(markers)
  })

  it('shows no initial access token and no software statement', async () => {
    const registry = await startRegistry(status(401))
    const oauthConfig = { initialAccessToken: 'hush-token', softwareStatement: 'hush-statement' }
    await expectFailure(registry.ensure({ oauthConfig }), 'registration_failed', /401/, [
      'hush-token',
      'hush-statement',
    ])
    expect(JSON.stringify(registry.context.log)).not.toContain('hush')
  })

  it.each([
    ['silence', SILENCE, 'request_timeout', 50],
    ['more than 1 MiB', TOO_LARGE, 'response_too_large', 10_000],
  ] as const)('no: %s is %s', async (_name, reply, code, timeout) => {
    const registry = await startRegistry(reply, timeout)
    await expectFailure(registry.ensure(), code, `${registry.url}/register`)
    expect(registry.asked()).toEqual(['POST /register'])
  })

  it.each(['http://as.example/register', 'javascript:alert(1)', 'file:///etc/passwd'])(
    'is not even asked for at %s',
    async (endpoint) => {
      const registry = await startRegistry(status(500))
      const failing = registry.ensure({ metadata: { registration_endpoint: endpoint } })
      await expectFailure(failing, 'insecure_url', 'The registration_endpoint')
      expect([registry.asked(), await registrationsOf(registry.context)]).toEqual([[], []])
    },
  )
})
