import { encodeKey } from '../store/key-text.js'
import { copyStore, type Counts } from './copy-store.js'
import { describeStore, keyFileOf, openNamedStore } from './open-named-store.js'
import type { Terminal } from './terminal.js'

export interface Migration {
  readonly from: string
  readonly to: string
  readonly overwrite: boolean
}

/**
 * Copies one store into another.
 *
 * @returns whether there was anything, and all of it is there now
 */
export async function migrate({ from, to, overwrite }: Migration, terminal: Terminal): Promise<boolean> {
  const source = await openNamedStore(from, 'source', terminal)
  try {
    const target = await openNamedStore(to, 'target', terminal)
    try {
      terminal.log(`From ${describeStore(from)} to ${describeStore(to)}:`)
      const differing: string[] = []
      const onDifference = (collection: string, key: string): void =>
        void differing.push(`${collection} ${encodeKey(key)}`)
      const counts = await copyStore(source.store, target.store, { overwrite, onDifference })
      if ([...counts.values()].every(isNone)) {
        terminal.error('There is nothing to copy: no registration, no token.')
        return false
      }
      for (const [collection, count] of counts) terminal.log(`  ${collection}: ${describeCounts(count)}`)
      return report(differing, from, terminal)
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

const MOST_NAMED = 20

function report(differing: readonly string[], from: string, terminal: Terminal): boolean {
  if (differing.length > 0) {
    terminal.error('Kept as they were, since they differ; --overwrite replaces them:')
    for (const name of differing.slice(0, MOST_NAMED)) terminal.error(`  ${name}`)
    if (differing.length > MOST_NAMED) terminal.error(`  and ${differing.length - MOST_NAMED} more`)
    return false
  }
  const keyFile = keyFileOf(from)
  if (keyFile !== undefined)
    terminal.log(`The key is not copied: set OAUTH_ENCRYPTION_KEY to the content of ${keyFile}.`)
  return true
}

function isNone(counts: Counts): boolean {
  return Object.values(counts).every((count) => count === 0)
}

function describeCounts({ copied, overwritten, same, different }: Counts): string {
  const parts = [`${copied} copied`, `${same} already there`]
  if (overwritten > 0) parts.push(`${overwritten} overwritten`)
  if (different > 0) parts.push(`${different} different`)
  return parts.join(', ')
}
