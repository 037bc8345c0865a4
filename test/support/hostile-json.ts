import fc from 'fast-check'

/** How often a property is tried, and with which cases: the same ones each time. */
export const MANY = { numRuns: 10_000, seed: 9728 }

const DEEP = 20_000

const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'valueOf',
  'toJSON',
  'hasOwnProperty',
  'then',
  'length',
  '0',
  '',
]

const TEXTS = [
  '', ' ', '\0', '\r\nset-cookie: a=b', 'a\nb', '\u2028', '\ufeff', '\ud800', '\u202e', '😀', '${x}', '%s', '%zz',
  '<script>alert(1)</script>', '"', '\\', '__proto__', 'none', 'client_secret_basic', 'private_key_jwt', 'Bearer', 'S256', 'a b c',
  'https://evil.example', 'https://evil.example/#x', 'https://u:p@evil.example/', 'http://evil.example/', 'http://localhost:1/',
  'http://169.254.169.254/', 'https://[::1]:70000/', 'https://', '//evil.example', 'javascript:alert(1)', 'data:,x', 'file:///etc/passwd',
] // prettier-ignore

/** JSON of values that nobody would expect in their place. */
const values: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...TEXTS).map((text) => JSON.stringify(text)) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'null',
      'true',
      'false',
      '0',
      '-1',
      '1e999',
      '-1e999',
      '1e20',
      '0.5',
      '""',
      '[]',
      '{}',
      '[[]]',
      '[null]',
      '[{}]',
      '{"toString":1}',
      '[{"toString":1}]',
      '{"toJSON":1,"then":1}',
    ),
  },
  { weight: 2, arbitrary: fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)) },
  {
    weight: 2,
    arbitrary: fc.array(fc.constantFrom(...TEXTS), { maxLength: 6 }).map((all) => JSON.stringify(all)),
  },
  { weight: 1, arbitrary: fc.json({ maxDepth: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(...KEYS).map((key) => `{${JSON.stringify(key)}:{"polluted":1}}`) },
)

/** Seldom, for they take time. */
const large: fc.Arbitrary<string> = fc.constantFrom(
  '['.repeat(DEEP) + ']'.repeat(DEEP),
  '{"a":'.repeat(DEEP) + '1' + '}'.repeat(DEEP),
  JSON.stringify('x'.repeat(200_000)),
  JSON.stringify(Array<string>(20_000).fill('https://evil.example')),
  `{${Array.from({ length: 5000 }, (_, i) => `"k${i}":${i}`).join()}}`,
)

/** What stands behind, before or in place of a document. */
const spoil = (text: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 20, arbitrary: fc.constant(text) },
    { weight: 1, arbitrary: fc.nat(text.length).map((end) => text.slice(0, end)) },
    { weight: 1, arbitrary: fc.constantFrom('\ufeff', ")]}',\n", '\0', '//').map((before) => before + text) },
    { weight: 1, arbitrary: fc.constantFrom(',', '}', '\0', text).map((behind) => text + behind) },
    { weight: 1, arbitrary: fc.constant(`[${text}]`) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  )

/**
 * Documents that are as they should be but for some members: of another type or value, missing, repeated, or
 * with names that mean something to JavaScript; some of them cut off, or no JSON at all.
 */
export function hostileJson(document: Readonly<Record<string, unknown>>): fc.Arbitrary<string> {
  const own = Object.entries(document).map(([name, value]) => [name, JSON.stringify(value)] as const)
  const replaced = fc.tuple(
    fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...Object.keys(document)) }, fc.constantFrom(...KEYS)),
    fc.oneof({ weight: 300, arbitrary: values }, { weight: 1, arbitrary: large }),
  )
  return fc
    .tuple(
      fc.subarray(own, { minLength: Math.max(0, own.length - 2) }),
      fc.array(replaced, { maxLength: 3 }),
      fc.boolean(),
    )
    .map(([kept, more, isFirst]) => (isFirst ? [...more, ...kept] : [...kept, ...more]))
    .map((members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join()}}`)
    .chain(spoil)
}

/** Whether anything that was read has found its way into what every object inherits. */
export function isPolluted(): boolean {
  return Object.keys(Object.prototype).length > 0 || 'polluted' in {} || 'polluted' in Object
}
