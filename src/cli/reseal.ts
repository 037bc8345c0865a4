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
 * @returns whether nothing is left that needs another key than the first
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
    const records = createRecords(store, sealer)
    const { resealed, unopened, damaged } = await resealAll(records, { deleteUnopened })
    terminal.log(`  ${resealed} sealed anew`)
    for (const [keyId, count] of Object.entries(unopened))
      terminal.log(
        `  ${count} sealed with the key ${keyId}, which is not among yours: ${fate(deleteUnopened)}`,
      )
    if (damaged > 0) terminal.log(`  ${damaged} altered: ${fate(deleteUnopened)}`)
    return deleteUnopened || (damaged === 0 && Object.keys(unopened).length === 0)
  } finally {
    await close()
  }
}

function fate(isDeleted: boolean): string {
  return isDeleted ? 'deleted' : 'left alone'
}
