import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MANY } from '../support/hostile-json.js'
import { publicPath, returnPath } from '../../src/gateway/return-path.js'

const GATEWAY = 'https://gateway.example.com'

/** Where a browser at the gateway would go. */
const origins = (path: string): string[] => [
  new URL(path, `${GATEWAY}/api/oauth/callback`).origin,
  new URL(GATEWAY + path).origin,
]

describe('the way back that a connect URL asks for', () => {
  it.each([
    ['/mcp/notes?a=b', '/mcp/notes?a=b'],
    ['/', '/'],
    ['//user@gateway.invalid/', '/'],
    ['/a/../b', '/b'],
    ['/a#b', '/a'],
    // These stay paths of the gateway, whatever it makes of them.
    ['/%2fevil.example', '/%2fevil.example'],
    ['/%2F%2Fevil.example', '/%2F%2Fevil.example'],
    ['/%5cevil.example', '/%5cevil.example'],
    ['/%09/evil.example', '/%09/evil.example'],
    ['/%0d%0aset-cookie:a=b', '/%0d%0aset-cookie:a=b'],
    ['/@evil.example', '/@evil.example'],
    ['/;@evil.example', '/;@evil.example'],
    ['/https://evil.example', '/https://evil.example'],
    ['/a\r\nset-cookie: b=c', '/aset-cookie:%20b=c'],
    ['/a\u0000b', '/a%00b'],
    ['/\u2028a', '/%E2%80%A8a'],
  ])('%j is taken as %j', (url, path) => {
    expect(returnPath(url)).toBe(path)
  })

  it.each([
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '/\\/evil.example',
    '\\\\evil.example',
    '\\/evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '/\r\n\\evil.example',
    '\t//evil.example',
    ' //evil.example',
    '/./\\evil.example',
    '/.//evil.example',
    '/..//evil.example',
    '/a/..//evil.example',
    '/%2e//evil.example',
    '/%2E%2e/\\evil.example',
    '//gateway.invalid//evil.example',
    '//[',
    'https://evil.example',
    'https:/evil.example',
    'javascript:alert(1)',
    'java\tscript:alert(1)',
    'data:text/html,x',
    'evil.example',
    '.evil.example',
    '@evil.example',
    ':80',
    '?a',
    '#a',
    '',
    `/${'a'.repeat(2000)}`,
    undefined,
    null,
    ['/a'],
    { toString: () => '/a' },
  ])('%j leads nowhere', (url) => {
    expect(returnPath(url)).toBeUndefined()
  })

  const pieces = fc.constantFrom(
    ...[
      '/',
      '\\',
      '%2f',
      '%5C',
      '.',
      '..',
      '%2e',
      '@',
      ':',
      '?',
      '#',
      ';',
      '\t',
      '\n',
      '\r',
      '\0',
      ' ',
      '\u2028',
      '\ud800',
      '\uff0f',
      'evil.example',
      'https:',
      'javascript:',
      '[',
      '%',
    ],
  )
  const texts = fc.oneof(
    fc.array(pieces, { maxLength: 12 }).map((all) => all.join('')),
    fc.array(pieces, { maxLength: 12 }).map((all) => `/${all.join('')}`),
    fc.string({ unit: 'binary' }).map((text) => `/${text}`),
  )

  it('whatever it is, it leads to the gateway itself, in characters that a header can carry', () => {
    fc.assert(
      fc.property(texts, fc.constantFrom(GATEWAY, `${GATEWAY}/`, `${GATEWAY}/base`), (text, baseUrl) => {
        const paths = [returnPath(text), publicPath(baseUrl, text)].filter((path) => path !== undefined)
        return paths.every(
          (path) =>
            /^\/(?![/\\])[\x21-\x7e]*$/.test(path) && origins(path).every((origin) => origin === GATEWAY),
        )
      }),
      MANY,
    )
  })
})
