import fc from 'fast-check'
import { decodeProtectedHeader } from 'jose'
import { describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer, type Sealer } from '../../src/security/seal.js'
import { errorOf } from '../store/support.js'
import { MANY } from '../support/hostile-json.js'

const OLD = 'an old key of more than 32 characters'
const NEW = 'a new key that has more than 32 characters'
const CONTEXT = ['oauth_tokens', 'notion/ann', 'accessToken']

const sealer = (...keys: string[]): Sealer => createSealer(loadKeys({ keys, keyFile: '', local: false }))

describe('a sealed value', () => {
  it('opens to what it was, in its place', async () => {
    const { seal, open } = sealer(NEW)
    for (const text of ['', 'secret', 'é🗝️', 'x'.repeat(100_000)]) {
      expect(await open(await seal(text, CONTEXT), CONTEXT)).toBe(text)
    }
  })

  it('is a compact JWE that names its key and shows nothing else', async () => {
    const { seal, keyIdOf, knows, currentKeyId } = sealer(NEW)
    const sealed = await seal('secret', CONTEXT)
    expect(sealed).toMatch(/^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)
    expect(decodeProtectedHeader(sealed)).toEqual({
      alg: 'dir',
      enc: 'A256GCM',
      kid: currentKeyId,
      ctx: expect.stringMatching(/^[\w-]{43}$/) as string,
    })
    expect(keyIdOf(sealed)).toBe(currentKeyId)
    expect(knows(currentKeyId)).toBe(true)
    expect(await seal('secret', CONTEXT)).not.toBe(sealed)
  })

  it.each([
    ['another key', ['oauth_tokens', 'notion/bob', 'accessToken']],
    ['another field', ['oauth_tokens', 'notion/ann', 'refreshToken']],
    ['another collection', ['cookie', 'notion/ann', 'accessToken']],
    ['parts that run into each other', ['oauth_tokens', 'notion/annaccessToken', '']],
    ['fewer parts', ['oauth_tokens', 'notion/ann']],
  ])('does not open under %s', async (_what, context) => {
    const { seal, open } = sealer(NEW)
    await expect(open(await seal('secret', CONTEXT), context)).rejects.toThrow(errorOf('store_corrupt'))
  })

  it('does not open when any part was altered, or it is none at all', async () => {
    const { seal, open } = sealer(NEW)
    const sealed = await seal('secret', CONTEXT)
    const parts = sealed.split('.')
    for (const index of [2, 3, 4]) {
      const altered = parts.with(
        index,
        `${parts[index]?.startsWith('A') ? 'B' : 'A'}${parts[index]?.slice(1)}`,
      )
      await expect(open(altered.join('.'), CONTEXT)).rejects.toThrow(errorOf('store_corrupt'))
    }
    const header = { ...decodeProtectedHeader(sealed), ctx: 'other' }
    const swapped = parts.with(0, Buffer.from(JSON.stringify(header)).toString('base64url')).join('.')
    for (const text of [swapped, '', 'secret', 'a.b.c', '....', `${sealed}.`]) {
      await expect(open(text, CONTEXT)).rejects.toThrow(errorOf('store_corrupt'))
    }
  })

  it('does not open with a shortened authentication tag', async () => {
    const { seal, open } = sealer(NEW)
    const parts = (await seal('secret', CONTEXT)).split('.')
    const short = Buffer.from(parts[4] ?? '', 'base64url')
      .subarray(0, 4)
      .toString('base64url')
    await expect(open(parts.with(4, short).join('.'), CONTEXT)).rejects.toThrow(errorOf('store_corrupt'))
  })
})

it('10,000 hostile texts open to what was sealed, or not at all', async () => {
  const { seal, open, keyIdOf } = sealer(NEW)
  const sealed = await seal('secret', CONTEXT)
  const elsewhere = await seal('other', ['oauth_tokens', 'notion/bob', 'accessToken'])
  const header = (fields: object): string =>
    Buffer.from(JSON.stringify({ ...decodeProtectedHeader(sealed), ...fields })).toString('base64url')
  const parts = fc.constantFrom(
    ...[...sealed.split('.'), ...elsewhere.split('.'), 'AAAA', '.', '!', 'é'],
    ...[
      { alg: 'none' },
      { alg: 'A256GCMKW' },
      { alg: 'PBES2-HS256+A128KW', p2c: 2 ** 31 },
      { zip: 'DEF' },
      { enc: 'A128CBC-HS256' },
      { crit: ['x'] },
      { kid: {} },
      { ctx: null },
    ].map(header),
  )
  const texts = fc.oneof(
    fc.array(parts, { minLength: 5, maxLength: 5 }).map((all) => all.join('.')),
    fc
      .tuple(fc.nat(sealed.length), fc.string({ maxLength: 2 }))
      .map(([at, it]) => sealed.slice(0, at) + it + sealed.slice(at + 1)),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(sealed, elsewhere, '', '....', '.'.repeat(10_000)),
  )
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      keyIdOf(text)
      try {
        return (await open(text, CONTEXT)) === 'secret'
      } catch (error) {
        return error instanceof McpDcrError && /^(store_corrupt|encryption_key_mismatch)$/.test(error.code)
      }
    }),
    MANY,
  )
}, 60_000)

describe('several keys', () => {
  it('the newest seals, the earlier ones still open', async () => {
    const before = sealer(OLD)
    const after = sealer(NEW, OLD)
    const sealed = await before.seal('secret', CONTEXT)
    expect(await after.open(sealed, CONTEXT)).toBe('secret')
    expect(after.keyIdOf(await after.seal('secret', CONTEXT))).toBe(sealer(NEW).currentKeyId)
    expect(after.knows(before.currentKeyId)).toBe(true)
  })

  it('without the right one, the error names its id and no key', async () => {
    const before = sealer(OLD)
    const sealed = await before.seal('secret', CONTEXT)
    const error: unknown = await sealer(NEW)
      .open(sealed, CONTEXT)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'encryption_key_mismatch' })
    const { message, fix } = error as { message: string; fix: string }
    expect(message).toContain(before.currentKeyId)
    expect(message + fix).not.toMatch(new RegExp(`${OLD}|${NEW}|secret\\b`))
  })

  it('keyIdOf knows what is no sealed value', () => {
    for (const text of ['', 'abc', 'a.b.c.d.e', '{}']) expect(sealer(NEW).keyIdOf(text)).toBeUndefined()
  })
})
