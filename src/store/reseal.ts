import type { Logger } from '../model.js'
import type { Records, ResealReport } from './records.js'

/**
 * Seals anew, with the newest key, all that an earlier one has sealed; whoever calls while that is under way shares it.
 *
 * @returns rejects with what the store throws; what was sealed anew until then stays so
 */
export function createReseal(
  { registrations, connections }: Records,
  logger: Logger,
): () => Promise<ResealReport> {
  let running: Promise<ResealReport> | undefined

  async function reseal(): Promise<ResealReport> {
    const report = sum(await registrations.reseal(), await connections.reseal())
    const { resealed, unopened, damaged } = report
    if (resealed > 0) logger.info('records were sealed anew with the newest encryption key', { resealed })
    for (const [keyId, records] of Object.entries(unopened))
      logger.error('records are sealed with an encryption key that is not configured; they were left alone', {
        keyId,
        records,
      })
    if (damaged > 0) logger.error('sealed records were altered; they were left alone', { records: damaged })
    return report
  }

  return () => (running ??= reseal().finally(() => (running = undefined)))
}

function sum(one: ResealReport, other: ResealReport): ResealReport {
  const unopened = { ...one.unopened }
  for (const [keyId, records] of Object.entries(other.unopened))
    unopened[keyId] = (unopened[keyId] ?? 0) + records
  return { resealed: one.resealed + other.resealed, unopened, damaged: one.damaged + other.damaged }
}
