import { Low } from 'lowdb'
import { McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import type { CredentialStore, RecordData } from './contract.js'
import { createEntry, findEntry, isExpired, putEntry, type Entry, type Tables } from './entry.js'
import { lockFile } from './file-lock.js'
import { createGroupCommit } from './group-commit.js'
import { renderTables, VERSION_MEMBER } from './json-format.js'
import {
  closeToOthers,
  keepEdited,
  loadTables,
  prepareDirectory,
  removeTemporaryFiles,
  stateOfFile,
} from './open-json-file.js'
import { replaceFile } from './replace-file.js'

export interface JsonFileOptions {
  path: string
  /** The current time in epoch milliseconds. */
  clock: () => number
  logger: Logger
  /** Looks at what was loaded; what it throws stops the opening and leaves the file untouched. */
  verify?: (records: Iterable<LoadedRecord>) => void
  /** Replaces the file as a whole and makes it durable. Defaults to a synced temporary file, renamed. */
  replace?: (path: string, content: Iterable<string>) => Promise<void>
}

export interface LoadedRecord {
  readonly collection: string
  readonly key: string
  readonly data: RecordData
}

export interface JsonFileStore extends CredentialStore {
  close(): Promise<void>
}

interface Change {
  readonly collection: string
  readonly key: string
  readonly entry: Entry | undefined
}

/**
 * Opens a store in one JSON file, for one process. Synchronous, so that every fault stops start-up.
 *
 * @throws McpDcrError `store_locked`, `store_corrupt`, `store_unavailable`, and what `verify` throws.
 */
export function openJsonFileStore(options: JsonFileOptions): JsonFileStore {
  const { clock, logger, verify, replace = replaceFile } = options
  const path = prepareDirectory(options.path)
  const lock = lockFile(path, (cause) => {
    logger.error('another process has taken the store over; nothing is written any more', { path, cause })
  })
  try {
    const state = stateOfFile(path)
    const durable = loadTables(path)
    verify?.(eachRecord(durable))
    if (lock.left !== undefined) removeTemporaryFiles(path, lock.left, logger)
    closeToOthers(path, logger)
    return serve(durable, state)
  } catch (error) {
    lock.release()
    throw error
  }

  /**
   * Two states: `durable` is what the file holds and what readers get; `low.data` has the changes on their
   * way there too, and is what a change is compared against. They share their entries.
   */
  function serve(durable: Tables, loadedState: string): JsonFileStore {
    /** What the file is known to hold: our own, or what has been kept aside. */
    let knownState = loadedState
    const low = new Low<Tables>(
      {
        // Read when opened, so that lowdb never is the first to see a fault.
        read: async () => null,
        write: async (tables) => {
          sweepExpired()
          const content = renderTables(tables, clock())
          lock.assertHeld()
          const state = stateOfFile(path)
          if (state !== knownState) keepEdited(path, logger)
          // Also where the write fails: it is not kept again by each one that is tried.
          knownState = state
          await replace(path, content)
          knownState = stateOfFile(path)
        },
      },
      new Map([...durable].map(([collection, table]) => [collection, new Map(table)])),
    )

    const commits = createGroupCommit<Change>({
      write: () => low.write(),
      onWritten(changes) {
        for (const { collection, key, entry } of changes) putEntry(durable, collection, key, entry)
      },
      onFailed(changes, error) {
        for (const { collection, key } of changes) {
          putEntry(low.data, collection, key, findEntry(durable, collection, key))
        }
        logger.error('the store could not be written', { path, error })
        return error instanceof McpDcrError ? error : writeFailed(error)
      },
    })

    let closing: Promise<void> | undefined

    async function change(collection: string, key: string, entry: Entry | undefined): Promise<true> {
      putEntry(low.data, collection, key, entry)
      await commits.add({ collection, key, entry })
      return true
    }

    /** Once the change that it lost against is on disk: who lost must find the winner when reading again. */
    async function lose(collection: string, key: string): Promise<false> {
      const winner = findEntry(low.data, collection, key)
      await commits.until(() => findEntry(durable, collection, key) === winner)
      return false
    }

    function live(entry: Entry | undefined): Entry | undefined {
      return entry === undefined || isExpired(entry, clock()) ? undefined : entry
    }

    function sweepExpired(): void {
      for (const [collection, table] of durable) {
        for (const [key, entry] of table) {
          if (live(entry) !== undefined) continue
          table.delete(key)
          if (findEntry(low.data, collection, key) === entry) putEntry(low.data, collection, key, undefined)
        }
      }
    }

    function assertOpen(): void {
      if (closing !== undefined)
        throw new McpDcrError('store_unavailable', 'The store has been closed.', {
          fix: 'The gateway is shutting down; try again once it is up.',
        })
    }

    return {
      shared: false,

      async get(collection, key) {
        assertOpen()
        const entry = live(findEntry(durable, collection, key))
        return entry && { data: entry.data, version: entry.version }
      },

      async compareAndSet(collection, key, expected, data, setOptions) {
        assertOpen()
        if (collection === VERSION_MEMBER) {
          throw new McpDcrError('internal_error', `A collection cannot be named ${VERSION_MEMBER}.`)
        }
        const current = live(findEntry(low.data, collection, key))
        if (current?.version !== expected) return lose(collection, key)
        return change(collection, key, createEntry(data, setOptions))
      },

      async delete(collection, key, expected) {
        assertOpen()
        const current = live(findEntry(low.data, collection, key))
        if (current === undefined || (expected !== undefined && current.version !== expected)) {
          return lose(collection, key)
        }
        return change(collection, key, undefined)
      },

      async *list(collection, prefix = '') {
        assertOpen()
        for (const [key, entry] of [...(durable.get(collection) ?? [])]) {
          if (key.startsWith(prefix) && live(entry) !== undefined)
            yield { key, data: entry.data, version: entry.version }
        }
      },

      close() {
        closing ??= commits.idle().then(() => lock.release())
        return closing
      },
    }
  }
}

function* eachRecord(tables: Tables): Generator<LoadedRecord> {
  for (const [collection, table] of tables) {
    for (const [key, { data }] of table) yield { collection, key, data }
  }
}

function writeFailed(cause: unknown): McpDcrError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  return new McpDcrError('store_write_failed', `The store could not be written${code ? ` (${code})` : ''}.`, {
    cause,
    fix:
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'Free some disk space, then try again; what was stored before is kept.'
        : 'Make the store’s directory writable, then try again; what was stored before is kept.',
  })
}
