import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { loadKeys } from '../../src/security/keys.js'

const A = 'a'.repeat(32)
const B = 'b'.repeat(32)

function newPath(...names: string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-keys-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return join(directory, ...names)
}

function failure(options: Parameters<typeof loadKeys>[0]): McpDcrError {
  try {
    loadKeys(options)
  } catch (error) {
    if (error instanceof McpDcrError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('given keys', () => {
  it('are derived, in their order, always to the same', () => {
    const keyFile = newPath('key')
    const [first, second, ...rest] = loadKeys({ keys: [A, B], keyFile, local: false })
    expect(rest).toEqual([])
    expect(first?.id).toMatch(/^[\w-]{12}$/)
    expect(first?.id).not.toBe(second?.id)
    expect(first?.key.symmetricKeySize).toBe(32)
    const [again] = loadKeys({ keys: [A], keyFile, local: true })
    expect(again?.id).toBe(first?.id)
    expect(again?.key.equals(first!.key)).toBe(true)
    expect(existsSync(keyFile)).toBe(false)
  })

  it('are refused when short, by position, without showing any', () => {
    const short = 'x'.repeat(31)
    const error = failure({ keys: [A, short], keyFile: newPath('key'), local: true })
    expect(error.code).toBe('encryption_key_invalid')
    expect(error.message).toContain('key 2 of 2')
    expect(inspect(error)).not.toContain(short)
  })

  it('do not show when printed', () => {
    const [key] = loadKeys({ keys: [A], keyFile: '', local: false })
    const text = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
    expect(text).not.toContain(A)
    expect(text).not.toContain(key!.key.export().toString('hex'))
  })
})

describe('no keys', () => {
  it.each([undefined, []])('outside loopback is an error that says how to make one', (keys) => {
    const keyFile = newPath('key')
    const error = failure({ keys, keyFile, local: false })
    expect(error.code).toBe('encryption_key_missing')
    expect(error.fix).toContain('OAUTH_ENCRYPTION_KEY')
    expect(error.fix).toContain('openssl rand -base64 32')
    expect(existsSync(keyFile)).toBe(false)
  })

  it('makes a key file of mode 0600 once', () => {
    const keyFile = newPath('made', 'key')
    const [made] = loadKeys({ keyFile, local: true })
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
    expect(statSync(join(keyFile, '..')).mode & 0o777).toBe(0o700)
    expect(readdirSync(join(keyFile, '..'))).toEqual(['key'])
    const text = readFileSync(keyFile, 'utf8').trim()
    expect(Buffer.from(text, 'base64url')).toHaveLength(32)
    expect(loadKeys({ keyFile, local: true })[0]?.id).toBe(made?.id)
    expect(loadKeys({ keys: [text], keyFile, local: false })[0]?.id).toBe(made?.id)
  })

  it('closes an open key file to others', () => {
    const keyFile = newPath('key')
    writeFileSync(keyFile, `${A}\n`)
    chmodSync(keyFile, 0o644)
    expect(loadKeys({ keyFile, local: true })[0]?.id).toBe(
      loadKeys({ keys: [A], keyFile, local: true })[0]?.id,
    )
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
  })

  it('refuses a key file that is empty or short, and leaves it', () => {
    const keyFile = newPath('key')
    for (const content of ['', 'short\n']) {
      writeFileSync(keyFile, content)
      const error = failure({ keyFile, local: true })
      expect(error.code).toBe('encryption_key_invalid')
      expect(error.message).toContain(keyFile)
      expect(readFileSync(keyFile, 'utf8')).toBe(content)
    }
  })

  it('refuses a key file that cannot be read or made', () => {
    const folder = newPath('folder')
    mkdirSync(folder)
    expect(failure({ keyFile: folder, local: true }).code).toBe('encryption_key_invalid')
    const file = newPath('file')
    writeFileSync(file, '')
    expect(failure({ keyFile: join(file, 'key'), local: true }).code).toBe('encryption_key_invalid')
  })
})
