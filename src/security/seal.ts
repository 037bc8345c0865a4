import { hash, webcrypto } from 'node:crypto'
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { McpDcrError, quoteUntrusted } from '../errors.js'
import { decryptJwe, encryptJwe } from '../modules.js'
import type { SealingKey } from './keys.js'

/** Encrypts text so that it opens only with a held key and only in the place that it was sealed for. */
export interface Sealer {
  /**
   * Seals with the newest key.
   *
   * @param context the place, such as collection, key and field
   * @returns a compact JWE (RFC 7516 §3.1), `dir` with `A256GCM`
   */
  seal(text: string, context: readonly string[]): Promise<string>
  /**
   * @throws McpDcrError `encryption_key_mismatch` where its key is not held; `store_corrupt` where it was
   * altered, sealed for another place, or is no sealed value.
   */
  open(sealed: string, context: readonly string[]): Promise<string>
  /** The id of the key it was sealed with; undefined where it is no sealed value. */
  keyIdOf(sealed: string): string | undefined
  knows(keyId: string): boolean
  readonly currentKeyId: string
}

const ALGORITHMS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }

/** @param keys newest first; at least one */
export function createSealer(keys: readonly SealingKey[]): Sealer {
  const newest = keys[0]
  if (newest === undefined) throw new McpDcrError('encryption_key_missing', 'There is no key to seal with.')
  // The WebCrypto import costs more than a sealing: once per key.
  const imported = new Map<string, Promise<webcrypto.CryptoKey>>()
  const byId = new Map(keys.map((key) => [key.id, key]))

  function importKey({ id, key }: SealingKey): Promise<webcrypto.CryptoKey> {
    let promise = imported.get(id)
    if (promise === undefined) {
      promise = webcrypto.subtle.importKey('raw', key.export(), 'AES-GCM', false, ['encrypt', 'decrypt'])
      imported.set(id, promise)
    }
    return promise
  }

  return {
    currentKeyId: newest.id,
    knows: (keyId) => byId.has(keyId),
    keyIdOf,

    async seal(text, context) {
      const { CompactEncrypt } = await encryptJwe()
      return new CompactEncrypt(new TextEncoder().encode(text))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: newest.id, ctx: contextHash(context) })
        .encrypt(await importKey(newest))
    },

    async open(sealed, context) {
      const keyId = keyIdOf(sealed)
      if (keyId === undefined) throw unopened(context)
      const key = byId.get(keyId)
      if (key === undefined) throw keyMismatch(keyId)
      const cryptoKey = await importKey(key)
      const { compactDecrypt } = await decryptJwe()
      const opened = await compactDecrypt(sealed, cryptoKey, ALGORITHMS).catch((cause: unknown) => {
        throw unopened(context, cause)
      })
      if (opened.protectedHeader.ctx !== contextHash(context)) throw unopened(context)
      return new TextDecoder().decode(opened.plaintext)
    },
  }
}

/** The error for a value whose key is not held. */
export function keyMismatch(keyId: string): McpDcrError {
  return new McpDcrError(
    'encryption_key_mismatch',
    `A value was sealed with the key ${quoteUntrusted(keyId)}, which is not among the configured keys.`,
    {
      fix: 'Put the earlier key behind the new one: OAUTH_ENCRYPTION_KEY=new,earlier. Without it: npx mcp-dcr reseal --store <store> --delete-unopened, and those people sign in again.',
    },
  )
}

function unopened([collection]: readonly string[], cause?: unknown): McpDcrError {
  return new McpDcrError(
    'store_corrupt',
    `A sealed value of ${collection ?? 'unknown origin'} does not open.`,
    {
      cause,
      fix: 'It was altered, or moved from another place: delete the record, and sign in again.',
    },
  )
}

function keyIdOf(sealed: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(sealed)
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

/** In the protected header, which the cipher authenticates; JSON, so that parts cannot run into each other. */
function contextHash(context: readonly string[]): string {
  return hash('sha256', JSON.stringify(context), 'base64url')
}
