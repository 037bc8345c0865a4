import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MANY } from '../support/hostile-json.js'
import { parseChallenge } from '../../src/gateway/parse-challenge.js'

const METADATA = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
const OTHER = 'https://mcp.example.com/other'

function parse(...values: string[]) {
  return parseChallenge(values)
}

describe('the Bearer challenge (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1)', () => {
  it.each([
    [`Bearer resource_metadata="${METADATA}"`],
    [`bearer resource_metadata="${METADATA}"`],
    [`BEARER Resource_Metadata="${METADATA}"`],
    [`Bearer   resource_metadata \t = \t "${METADATA}"  `],
    [`Bearer\tresource_metadata="${METADATA}"`],
    [` , ,Bearer resource_metadata="${METADATA}", ,`],
    [`Bearer , resource_metadata="${METADATA}"`],
    [`Bearer realm="a, Basic realm=\\"b\\"", resource_metadata="${METADATA}"`],
    [`Bearer realm="back\\\\slash", resource_metadata="${METADATA}"`],
    [`Bearer resource_metadata="${METADATA.replace('mcp.', 'mc\\p.')}"`],
    [`Basic realm="x", Bearer resource_metadata="${METADATA}"`],
    [`Bearer resource_metadata="${METADATA}", Basic realm="x"`],
    [`Negotiate abc==, Bearer resource_metadata="${METADATA}"`],
    [`Negotiate YWJj, Bearer resource_metadata="${METADATA}"`],
    [`Negotiate a/+~._-b=  , Bearer resource_metadata="${METADATA}"`],
    [`Negotiate, NTLM, Bearer resource_metadata="${METADATA}"`],
    [`Digest qop="auth, auth-int", nonce=a1, Bearer resource_metadata="${METADATA}"`],
    [`Negotiate bearer, Bearer resource_metadata="${METADATA}"`],
  ])('reads %s', (value) => {
    expect(parse(value)).toEqual({ resourceMetadata: METADATA })
  })

  it('reads all four parameters', () => {
    expect(
      parse(
        `Bearer realm="r", error="insufficient_scope", error_description="Needs \\"more\\", please", ` +
          `scope="files:read files:write", resource_metadata="${METADATA}", unknown=1`,
      ),
    ).toEqual({
      resourceMetadata: METADATA,
      scope: 'files:read files:write',
      error: 'insufficient_scope',
      errorDescription: 'Needs "more", please',
    })
  })

  it('reads tokens as values', () => {
    expect(parse('Bearer error=invalid_token, scope=read')).toEqual({ error: 'invalid_token', scope: 'read' })
  })

  it.each([['Bearer'], ['bearer '], ['Bearer,'], ['Basic realm="x", Bearer'], ['Bearer, Basic realm="x"']])(
    'is empty for a bare Bearer: %s',
    (value) => {
      expect(parse(value)).toEqual({})
    },
  )

  it('ignores token68 credentials after Bearer', () => {
    expect(parse('Bearer abc==, Basic realm="x"')).toEqual({})
  })

  it.each([
    [''],
    [' , , '],
    ['Basic realm="Bearer"'],
    ['Basic realm="x, Bearer y=\\"z\\""'],
    ['Negotiate bearer'],
    ['Bearerx resource_metadata="https://a.example"'],
    ['X-Bearer resource_metadata="https://a.example"'],
    ['realm="x"'],
    ['Bearer="x"'],
  ])('is undefined where there is none: %s', (value) => {
    expect(parse(value)).toBeUndefined()
  })

  it('is undefined without any header', () => {
    expect(parseChallenge([])).toBeUndefined()
  })

  it('leaves each parameter with the scheme that it follows', () => {
    expect(parse(`Basic scope="basic", Bearer error="e", DPoP scope="dpop", error="d"`)).toEqual({
      error: 'e',
    })
  })

  it('finds it on any of several lines', () => {
    expect(parse('Basic realm="x"', `Bearer resource_metadata="${METADATA}"`)).toEqual({
      resourceMetadata: METADATA,
    })
  })

  it('reads lines as one list: a line may continue a challenge (RFC 9110 §5.3)', () => {
    expect(parse('Bearer error="e"', 'scope="a b"')).toEqual({ error: 'e', scope: 'a b' })
  })

  it('prefers, of several, the one that names its metadata', () => {
    expect(parse(`Bearer scope="a", Bearer resource_metadata="${METADATA}", scope="b"`)).toEqual({
      resourceMetadata: METADATA,
      scope: 'b',
    })
    expect(parse('Bearer scope="a"', 'Bearer scope="b"')).toEqual({ scope: 'a' })
  })

  it.each([
    [`Bearer resource_metadata="/relative", resource_metadata="${METADATA}"`],
    [`Bearer resource_metadata="javascript:alert(1)", resource_metadata="${METADATA}"`],
    [`Bearer resource_metadata="https://", resource_metadata="", resource_metadata="${METADATA}"`],
  ])('takes the first http(s) URL among duplicates: %s', (value) => {
    expect(parse(value)).toEqual({ resourceMetadata: METADATA })
  })

  it('keeps two more URLs of duplicates and of other Bearer challenges, for each to be tried (SPEC 2)', () => {
    const more = [3, 4, 5].map((n) => `resource_metadata="https://mcp.example.com/${n}"`).join(', ')
    expect(parse(`Bearer resource_metadata="${METADATA}", resource_metadata="${OTHER}"`)).toEqual({
      resourceMetadata: METADATA,
      otherResourceMetadata: [OTHER],
    })
    expect(parse(`Bearer resource_metadata="${METADATA}"`, `Bearer ${more}`)).toEqual({
      resourceMetadata: METADATA,
      otherResourceMetadata: ['https://mcp.example.com/3', 'https://mcp.example.com/4'],
    })
  })

  it('has no metadata where none of it is an http(s) URL', () => {
    expect(parse('Bearer resource_metadata="file:///etc/passwd", scope="a"')).toEqual({ scope: 'a' })
  })
})

describe('a malformed challenge', () => {
  it.each([
    ['a URL without quotes', `Bearer resource_metadata=${METADATA}, scope=a`, METADATA, 'a'],
    ['no commas', `Bearer scope="a" resource_metadata="${METADATA}"`, METADATA, 'a'],
    ['no comma before Bearer', `Basic realm="x" Bearer resource_metadata="${METADATA}"`, METADATA, undefined],
    ['a scope without quotes', `Bearer scope=a b c, resource_metadata="${METADATA}"`, METADATA, 'a'],
    ['garbage before', `@@@ (;) Bearer resource_metadata="${METADATA}"`, METADATA, undefined],
    ['garbage between', `Bearer scope="a", :/[], ="x", resource_metadata="${METADATA}"`, METADATA, 'a'],
    ['an unterminated quote after', `Bearer resource_metadata="${METADATA}", scope="a`, METADATA, undefined],
    ['an escape at the end', `Bearer resource_metadata="${METADATA}", scope="a\\`, METADATA, undefined],
    ['an empty value', `Bearer scope="", resource_metadata="${METADATA}", error=`, METADATA, undefined],
  ])('with %s yields what can be read', (_title, value, resourceMetadata, scope) => {
    expect(parse(value)).toEqual({ resourceMetadata, ...(scope !== undefined && { scope }) })
  })

  it('is not believed where a value is cut off', () => {
    expect(parse('Bearer scope="a", resource_metadata="https://mcp.example.com/.well-kn')).toEqual({
      scope: 'a',
    })
  })

  it.each(['\0', '\r\n', '\x1b', '\x7f'])('drops a value with a control character (%j)', (control) => {
    expect(parse(`Bearer scope="a${control}b", error="e"`)).toEqual({ error: 'e' })
  })

  it('is ignored beyond 16 KiB, whatever it says; the other lines are read', () => {
    const huge = `Bearer resource_metadata="${METADATA}", scope="${'a'.repeat(1024 * 1024)}"`
    expect(parse(huge)).toBeUndefined()
    expect(parse(huge, 'Bearer scope="b"')).toEqual({ scope: 'b' })
    const fits = `Bearer error="${'a'.repeat(16 * 1024 - 15)}"`
    expect(fits).toHaveLength(16 * 1024)
    expect(parse(fits)?.error).toHaveLength(16 * 1024 - 15)
  })

  it('has no scope of more than 4 KiB, which would go into every request from then on', () => {
    const fits = 'a'.repeat(4096)
    expect(parse(`Bearer scope="${fits}"`)).toEqual({ scope: fits })
    expect(parse(`Bearer scope="${fits}a", error="x"`)).toEqual({ error: 'x' })
  })

  it('never throws', () => {
    const pieces = fc.constantFrom(
      'Bearer',
      'bearer ',
      ' ',
      ',',
      '=',
      '"',
      '\\',
      'a',
      '\t',
      'scope',
      '/',
      '==',
      '\0',
      'é',
    )
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string({ unit: 'binary' }),
            fc.array(pieces).map((all) => all.join('')),
          ),
        ),
        (values) => {
          const { resourceMetadata, otherResourceMetadata = [], scope = '' } = parseChallenge(values) ?? {}
          const urls = [
            ...(resourceMetadata === undefined ? [] : [resourceMetadata]),
            ...otherResourceMetadata,
          ]
          return (
            urls.length <= 3 &&
            urls.every((url) => /^https?:$/.test(new URL(url).protocol)) &&
            scope.length <= 4096 &&
            // eslint-disable-next-line no-control-regex -- none may come through
            !/[\0-\x08\x0a-\x1f\x7f]/.test(urls.join() + scope)
          )
        },
      ),
      MANY,
    )
  })

  it.each([
    '"',
    'a',
    'a ',
    'a=',
    '=',
    ' ',
    ',',
    '\\',
    '"\\',
    'a=" ',
    'a,',
    'Bearer ',
    'Negotiate a',
    'a="b"',
    '(',
    '\x00',
  ])('takes no longer than its length allows: %j over and over', (piece) => {
    const lines = Array.from({ length: 64 }, () => piece.repeat(Math.floor((16 * 1024) / piece.length)))
    const started = performance.now()
    parseChallenge(lines)
    // 1 MiB: some 50 ms where each character costs a fixed time, minutes where it does not.
    expect(performance.now() - started).toBeLessThan(5000)
  })
})

describe('every legal challenge', () => {
  const tokenCharacters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
  const token = fc.string({ unit: fc.constantFrom(...tokenCharacters), minLength: 1, maxLength: 12 })
  const space = fc.constantFrom('', '', ' ', '\t', '  ')
  const text = fc.string({
    unit: fc.constantFrom(...'abcXYZ019 ,="\\/:;()<>@?{}[]\t\xe9'.split('')),
    minLength: 1,
    maxLength: 20,
  })
  const name = fc.constantFrom('scope', 'error', 'error_description', 'realm', 'x-other')
  const anyCase = (word: string) =>
    fc
      .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
      .map((upper) => [...word].map((letter, i) => (upper[i] ? letter.toUpperCase() : letter)).join(''))
  const written = fc.oneof(
    token.map((value) => ({ value, form: value })),
    text.chain((value) =>
      fc.array(fc.boolean(), { minLength: value.length, maxLength: value.length }).map((escaped) => ({
        value,
        form: `"${[...value].map((it, i) => (escaped[i] || '"\\'.includes(it) ? `\\${it}` : it)).join('')}"`,
      })),
    ),
  )
  const parameter = fc
    .tuple(name, written, space, space)
    .chain(([key, { value, form }, before, after]) =>
      anyCase(key).map((shown) => ({ key, value, form: `${shown}${before}=${after}${form}` })),
    )
  const separator = fc.constantFrom(',', ', ', ' ,', ' , ,, ', ',\t')
  const parameters = fc.uniqueArray(parameter, { selector: ({ key }) => key, maxLength: 5 }).chain((all) =>
    fc.array(separator, { minLength: all.length, maxLength: all.length }).map((separators) => ({
      values: Object.fromEntries(all.map(({ key, value }) => [key, value])),
      form: all.map(({ form }, i) => (i === 0 ? form : `${separators[i]}${form}`)).join(''),
    })),
  )
  const otherScheme = fc.constantFrom('Basic', 'Digest', 'Negotiate', 'DPoP', 'vapid')
  const other = fc.oneof(
    otherScheme,
    fc
      .tuple(otherScheme, fc.constantFrom('abc==', 'YWJj', 'a-._~+/=', 'bearer'))
      .map((both) => both.join(' ')),
    fc.tuple(otherScheme, parameters).map(([scheme, { form }]) => `${scheme} ${form}`),
  )

  it('is read back, among others on the same and other lines', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(other, { maxLength: 2 }), { maxLength: 2 }),
        fc.array(other, { maxLength: 2 }),
        fc.array(other, { maxLength: 2 }),
        fc.array(fc.array(other, { minLength: 1, maxLength: 2 }), { maxLength: 2 }),
        anyCase('bearer'),
        parameters,
        separator,
        (linesBefore, before, after, linesAfter, scheme, { values, form }, join) => {
          const line = [...before, `${scheme} ${form}`, ...after].join(join)
          const lines = [
            ...linesBefore.map((all) => all.join(join)),
            line,
            ...linesAfter.map((all) => all.join(join)),
          ]
          expect(parseChallenge(lines)).toEqual({
            ...(values['scope'] !== undefined && { scope: values['scope'] }),
            ...(values['error'] !== undefined && { error: values['error'] }),
            ...(values['error_description'] !== undefined && {
              errorDescription: values['error_description'],
            }),
          })
        },
      ),
      { ...MANY, numRuns: 1000 },
    )
  })

  it('gives back the URL that it names', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), parameters, (url, { form }) => {
        expect(parse(`Bearer resource_metadata="${url}"${form && `, ${form}`}`)?.resourceMetadata).toBe(url)
      }),
      { ...MANY, numRuns: 100 },
    )
  })
})
