import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import { loadKeys } from '../security/keys.js'
import { createSealer, type Sealer } from '../security/seal.js'
import type { CredentialStore } from './contract.js'
import { openJsonFileStore, type LoadedRecord } from './json-file.js'
import { checkSealed } from './records.js'

export interface CredentialsOptions {
  /** An absolute path, or a store. */
  readonly store: string | CredentialStore
  /** Newest first; undefined: the key file beside the store. */
  readonly encryptionKeys: readonly string[] | undefined
  /** Whether a key may be generated. */
  readonly local: boolean
  readonly clock: () => number
  readonly logger: Logger
}

/**
 * Opens the store and the keys that it is sealed with.
 *
 * @throws McpDcrError what {@link loadKeys}, {@link openJsonFileStore} and {@link checkSealed} throw; the store is untouched then
 */
export function openCredentials(options: CredentialsOptions): { store: CredentialStore; sealer: Sealer } {
  const { store, encryptionKeys: keys, local, clock, logger } = options
  const keyFile = typeof store === 'string' ? `${store}.key` : resolve('.mcp-dcr', 'store.key')
  if (typeof store !== 'string') return { store, sealer: createSealer(loadKeys({ keys, keyFile, local })) }
  // Before anything is made beside it: a refused start-up leaves no trace.
  const knownKeys = keys === undefined && local ? undefined : createSealer(loadKeys({ keys, keyFile, local }))
  let sealer: Sealer | undefined = knownKeys
  const opened = openJsonFileStore({
    path: store,
    clock,
    logger,
    verify: (records) => {
      const loaded = [...records]
      if (knownKeys === undefined) assertKeyFileNotLost(loaded, keyFile)
      sealer ??= createSealer(loadKeys({ keys, keyFile, local }))
      checkSealed(loaded, sealer)
    },
  })
  return { store: opened, sealer: sealer ?? createSealer(loadKeys({ keys, keyFile, local })) }
}

/** A new key would open nothing of a store that another one sealed. */
function assertKeyFileNotLost(records: readonly LoadedRecord[], keyFile: string): void {
  if (records.length === 0 || existsSync(keyFile)) return
  throw new McpDcrError(
    'encryption_key_missing',
    `The store has records, but its key file ${keyFile} is gone.`,
    {
      fix: 'Restore the key file from a backup, set OAUTH_ENCRYPTION_KEY to its content, or delete the store and sign in again.',
    },
  )
}
