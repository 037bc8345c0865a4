import { loadKeys } from '../security/keys.js'
import { createSealer } from '../security/seal.js'
import { createRecords } from '../store/records.js'
import { resealAll } from '../store/reseal.js'
import { describeStore, keyFileOf, openNamedStore } from './open-named-store.js'
import type { Terminal } from './terminal.js'

export interface Resealing {
  readonly store: string
  readonly deleteUnopened: boolean
}

/**
 * Seals anew, with the first of the keys, what the others have sealed.
 *
 * @param keys newest first; none: the key file beside the store
 * @returns whether there was anything, and nothing is left that needs another key than the first
 */
export async function reseal(
  { store: name, deleteUnopened }: Resealing,
  keys: readonly string[],
  terminal: Terminal,
): Promise<boolean> {
  const keyFile = keyFileOf(name)
  const sealer = createSealer(loadKeys({ keys, keyFile: keyFile ?? '', local: keyFile !== undefined }))
  const { store, close } = await openNamedStore(name, 'source', terminal)
  try {
    terminal.log(`${describeStore(name)}, with the key ${sealer.currentKeyId}:`)
    const outcome = await resealAll(createRecords(store, sealer))
    const { resealed, unopened, damaged, records, opened } = outcome
    if (records === 0) {
      terminal.error('There is nothing in it: no registration, no token.')
      return false
    }
    const isDeleting = deleteUnopened && opened > 0
    if (isDeleting) await outcome.deleteUnopened()
    const fate = isDeleting ? 'deleted' : 'left alone'
    terminal.log(`  ${resealed} sealed anew`)
    for (const [keyId, count] of Object.entries(unopened))
      terminal.log(`  ${count} sealed with the key ${keyId}, which is not among yours: ${fate}`)
    if (damaged > 0) terminal.log(`  ${damaged} altered: ${fate}`)
    const isWhole = damaged === 0 && Object.keys(unopened).length === 0
    if (deleteUnopened && !isWhole && !isDeleting)
      terminal.error(
        'Nothing was deleted: no record opens at all, so the key is the wrong one. Set OAUTH_ENCRYPTION_KEY to the one of the gateway.',
      )
    return isWhole || isDeleting
  } finally {
    await close()
  }
}
