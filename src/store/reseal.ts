import type { Logger } from '../model.js'
import type { Records, ResealReport } from './records.js'

/**
 * Seals anew, with the newest key, all that an earlier one has sealed, and says so in the log; whoever calls while
 * that is under way shares it.
 *
 * @returns rejects with what the store throws; what was sealed anew until then stays so
 */
export function createReseal(records: Records, logger: Logger): () => Promise<ResealReport> {
  let running: Promise<ResealReport> | undefined

  async function reseal(): Promise<ResealReport> {
    const { resealed, unopened, damaged } = await resealAll(records)
    if (resealed > 0) logger.info('records were sealed anew with the newest encryption key', { resealed })
    for (const [keyId, count] of Object.entries(unopened))
      logger.error('records are sealed with an encryption key that is not configured; they were left alone', {
        keyId,
        records: count,
      })
    if (damaged > 0) logger.error('sealed records were altered; they were left alone', { records: damaged })
    return { resealed, unopened, damaged }
  }

  return () => (running ??= reseal().finally(() => (running = undefined)))
}

/** What came of sealing a whole store anew. */
export interface ResealedStore extends ResealReport {
  /** How many registrations and connections there are. */
  readonly records: number
  /** How many of them hold something sealed, and open. None where others do not: then it is the key that is wrong. */
  readonly opened: number
  deleteUnopened(): Promise<void>
}

/** Registrations and connections together; see `RecordCollection.reseal`. */
export async function resealAll({ registrations, connections }: Records): Promise<ResealedStore> {
  const [one, other] = [await registrations.reseal(), await connections.reseal()]
  const unopened = { ...one.unopened }
  for (const [keyId, count] of Object.entries(other.unopened))
    unopened[keyId] = (unopened[keyId] ?? 0) + count
  return {
    resealed: one.resealed + other.resealed,
    unopened,
    damaged: one.damaged + other.damaged,
    records: one.records + other.records,
    opened: one.opened + other.opened,
    async deleteUnopened() {
      await one.deleteUnopened()
      await other.deleteUnopened()
    },
  }
}
