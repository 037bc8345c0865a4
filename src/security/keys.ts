import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { McpDcrError } from '../errors.js'
import { readKeyFile } from './key-file.js'

/** A 256-bit key for sealing. A KeyObject, so that printing it by mistake shows nothing. */
export interface SealingKey {
  /** Names the key in what it sealed; reveals nothing about it. */
  readonly id: string
  readonly key: KeyObject
}

const MIN_LENGTH = 32

/**
 * The sealing keys, newest first. Without `keys`, and only where the gateway is local, the key in
 * `keyFile`, which is made if there is none.
 *
 * @throws McpDcrError `encryption_key_invalid`, `encryption_key_missing`.
 */
export function loadKeys(options: {
  keys?: readonly string[] | undefined
  keyFile: string
  local: boolean
}): SealingKey[] {
  const { keys = [], keyFile, local } = options
  if (keys.length > 0)
    return keys.map((key, index) => deriveKey(key, `Encryption key ${index + 1} of ${keys.length}`))
  if (local) return [deriveKey(readKeyFile(keyFile), `The encryption key in ${keyFile}`)]
  throw new McpDcrError('encryption_key_missing', 'No encryption key is configured.', {
    fix: 'Set the environment variable OAUTH_ENCRYPTION_KEY to the output of: openssl rand -base64 32',
  })
}

/** The keys of `OAUTH_ENCRYPTION_KEY`: newest first, separated by commas. */
export function splitKeys(text = ''): string[] {
  return text
    .split(',')
    .map((key) => key.trim())
    .filter((key) => key !== '')
}

/** HKDF, since a key is any long text; not a password hash, which is why short ones are refused. */
function deriveKey(text: string, name: string): SealingKey {
  if (text.length < MIN_LENGTH) {
    throw new McpDcrError('encryption_key_invalid', `${name} is shorter than ${MIN_LENGTH} characters.`, {
      fix: 'Make a key with: openssl rand -base64 32',
    })
  }
  const secret = new Uint8Array(hkdfSync('sha256', text, '', 'mcp-dcr sealing key', 32))
  const id = Buffer.from(hkdfSync('sha256', secret, '', 'mcp-dcr key id', 9)).toString('base64url')
  return { id, key: createSecretKey(secret) }
}
