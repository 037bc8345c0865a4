import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { assertEndpointUrl, isLoopbackUrl } from '../../src/security/guarded-fetch.js'
import { MANY } from '../support/hostile-json.js'
import { isLoopbackHost } from '../../src/security/network.js'

function refusal(url: unknown): McpDcrError {
  try {
    assertEndpointUrl(url, 'token_endpoint')
  } catch (error) {
    if (error instanceof McpDcrError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('assertEndpointUrl', () => {
  it.each<[string | URL, string]>([
    ['https://auth.example.com/token', 'https://auth.example.com/token'],
    ['https://auth.example.com:8443/token?tenant=1', 'https://auth.example.com:8443/token?tenant=1'],
    ['HTTPS://AUTH.example.com', 'https://auth.example.com/'],
    [' https://auth.example.com\n', 'https://auth.example.com/'],
    ['http://localhost:3000/token', 'http://localhost:3000/token'],
    ['http://sub.localhost./', 'http://sub.localhost./'],
    ['http://127.0.0.1/', 'http://127.0.0.1/'],
    ['http://[::1]:3000/', 'http://[::1]:3000/'],
    [new URL('https://auth.example.com/token'), 'https://auth.example.com/token'],
    // Whether such a host may be dialed is judged at the dial.
    ['https://10.0.0.1/', 'https://10.0.0.1/'],
  ])('takes %s', (url, href) => {
    expect(assertEndpointUrl(url, 'token_endpoint').href).toBe(href)
  })

  it.each<[unknown, string]>([
    ['javascript:alert(1)', 'is not https: javascript:…'],
    ['JaVaScRiPt:alert(1)', 'is not https: javascript:…'],
    ['java\nscript:alert(1)', 'is not https: javascript:…'],
    ['javascript://localhost/%0aalert(1)', 'is not https: javascript://localhost/%0aalert(1)'],
    ['data:text/html,<script>', 'is not https: data:…'],
    ['file:///etc/passwd', 'is not https: file:…'],
    ['vbscript:msgbox', 'is not https: vbscript:…'],
    ['blob:https://auth.example.com/1', 'is not https: blob:…'],
    ['ws://localhost/', 'is not https: ws://localhost/'],
    ['ftp://localhost/', 'is not https: ftp://localhost/'],
    ['http://auth.example.com/token', 'is not https: http://auth.example.com/token'],
    ['http://localhost.example.com/', 'is not https: http://localhost.example.com/'],
    ['http://localhost@auth.example.com/', 'is not https: http://auth.example.com/'],
    ['http://10.0.0.1/', 'is not https: http://10.0.0.1/'],
    ['http://0.0.0.0/', 'is not https: http://0.0.0.0/'],
    ['http://[64:ff9b::7f00:1]/', 'is not https: http://[64:ff9b::7f00:1]/'],
    ['https://user@auth.example.com/', 'contains a user name or password: https://auth.example.com/'],
    ['https://:pass@auth.example.com/', 'contains a user name or password: https://auth.example.com/'],
    ['https://auth.example.com/token#top', 'has a fragment: https://auth.example.com/token'],
    ['', 'is not an absolute URL'],
    ['/token', 'is not an absolute URL'],
    ['//auth.example.com/token', 'is not an absolute URL'],
    ['https://', 'is not an absolute URL'],
    ['https://user:pass@[nowhere', 'is not an absolute URL'],
    [undefined, 'is not a URL but of type undefined'],
    [null, 'is not a URL but of type object'],
    [5, 'is not a URL but of type number'],
    [['https://auth.example.com'], 'is not a URL but of type object'],
    [{ toString: 1, valueOf: 1 }, 'is not a URL but of type object'],
    [{ toString: () => 'https://auth.example.com' }, 'is not a URL but of type object'],
    [Symbol('https://auth.example.com'), 'is not a URL but of type symbol'],
  ])('refuses %j', (url, why) => {
    const error = refusal(url)
    expect(error.code).toBe('insecure_url')
    expect(error.message).toBe(`The token_endpoint ${why}.`)
  })

  it.each([
    'ftp://user:hunter2@auth.example.com/',
    'http://user:hunter2@auth.example.com/',
    'https://user:hunter2@auth.example.com/',
    'http://auth.example.com/?token=hunter2',
    'https://auth.example.com/#hunter2',
    'https://user:hunter2@[nowhere',
    'urn:hunter2',
  ])('shows no part of a URL that may be secret: %s', (url) => {
    expect(`${refusal(url).message} ${refusal(url).fix}`).not.toContain('hunter2')
  })

  it('keeps a long URL out of its message', () => {
    expect(refusal(`http://auth.example.com/${'a'.repeat(100_000)}`).message.length).toBeLessThan(300)
  })

  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
    fc
      .tuple(
        fc.constantFrom('http:', 'https:', 'HTTP:', 'javascript:', 'data:', 'file:', 'java\tscript:', ''),
        fc.constantFrom('', '/', '//', '\\\\', '///'),
        fc.constantFrom('', 'user@', 'user:pass@', 'localhost@', ':@'),
        fc.oneof(
          fc.ipV4Extended(),
          fc.ipV6().map((ip) => `[${ip}]`),
          fc.domain(),
          fc.constantFrom('localhost', 'sub.localhost.', 'localhost.evil.example', ''),
          fc.string(),
        ),
        fc.string(),
      )
      .map((parts) => parts.join('')),
  )

  it('for any text throws only McpDcrError, or returns a URL that is https or loopback http', () => {
    fc.assert(
      fc.property(texts, (text) => {
        let url: URL
        try {
          url = assertEndpointUrl(text, 'token_endpoint')
        } catch (error) {
          expect(error).toBeInstanceOf(McpDcrError)
          expect((error as McpDcrError).code).toBe('insecure_url')
          return
        }
        expect(url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname))).toBe(
          true,
        )
        expect([url.username, url.password, url.hash]).toEqual(['', '', ''])
      }),
      { ...MANY, numRuns: 2000 },
    )
  })

  it('for anything else throws McpDcrError', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (value) => {
        if (typeof value !== 'string') expect(refusal(value).code).toBe('insecure_url')
      }),
      { ...MANY, numRuns: 100 },
    )
  })
})

describe('isLoopbackUrl', () => {
  it.each<[string, boolean]>([
    ['http://localhost:3000/a', true],
    ['https://127.0.0.1', true],
    ['http://[::1]/', true],
    ['https://example.com', false],
    ['https://10.0.0.1', false],
  ])('%s: %s', (url, expected) => {
    expect(isLoopbackUrl(url)).toBe(expected)
  })
})
