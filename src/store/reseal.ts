import type { Logger } from '../model.js'
import type { Records, ResealOptions, ResealReport } from './records.js'

/**
 * Seals anew, with the newest key, all that an earlier one has sealed, and says so in the log; whoever calls while
 * that is under way shares it.
 *
 * @returns rejects with what the store throws; what was sealed anew until then stays so
 */
export function createReseal(records: Records, logger: Logger): () => Promise<ResealReport> {
  let running: Promise<ResealReport> | undefined

  async function reseal(): Promise<ResealReport> {
    const report = await resealAll(records)
    const { resealed, unopened, damaged } = report
    if (resealed > 0) logger.info('records were sealed anew with the newest encryption key', { resealed })
    for (const [keyId, count] of Object.entries(unopened))
      logger.error('records are sealed with an encryption key that is not configured; they were left alone', {
        keyId,
        records: count,
      })
    if (damaged > 0) logger.error('sealed records were altered; they were left alone', { records: damaged })
    return report
  }

  return () => (running ??= reseal().finally(() => (running = undefined)))
}

/** Registrations and connections together; see `RecordCollection.reseal`. */
export async function resealAll(
  { registrations, connections }: Records,
  options?: ResealOptions,
): Promise<ResealReport> {
  const [one, other] = [await registrations.reseal(options), await connections.reseal(options)]
  const unopened = { ...one.unopened }
  for (const [keyId, count] of Object.entries(other.unopened))
    unopened[keyId] = (unopened[keyId] ?? 0) + count
  return { resealed: one.resealed + other.resealed, unopened, damaged: one.damaged + other.damaged }
}
