import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import { makePrivateDirectory } from '../security/private-directory.js'
import type { Tables } from './entry.js'
import { parseTables } from './json-format.js'
import type { LockOwner } from './lock-owner.js'

/** The file's real path, so that two names of one file share one lock. Makes the directory, mode 0700. */
export function prepareDirectory(path: string): string {
  try {
    const absolute = resolve(path)
    makePrivateDirectory(dirname(absolute))
    const directory = realpathSync(dirname(absolute))
    return realpathOrUndefined(absolute) ?? join(directory, basename(absolute))
  } catch (cause) {
    throw new McpDcrError(
      'store_unavailable',
      `The directory of the store ${path} cannot be made or entered.`,
      {
        cause,
        fix: 'Name another path, or make the directory writable for the gateway.',
      },
    )
  }
}

/** The file's records; none where there is no file yet. */
export function loadTables(path: string): Tables {
  const bytes = readOrUndefined(path)
  if (bytes === undefined) return new Map()
  return parseTables(path, bytes)
}

/** Differs once somebody else has written the file. */
export function stateOfFile(path: string): string {
  const { ino, size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return JSON.stringify([ino, size, mtimeMs])
}

/**
 * Keeps a copy of what somebody has made of the file while the gateway runs: the next write is of what is in memory,
 * and replaces theirs.
 */
export function keepEdited(path: string, logger: Logger): void {
  if (!existsSync(path)) return
  const copy = `${path}.edited-${randomBytes(4).toString('hex')}`
  copyFileSync(path, copy)
  logger.error(
    'the store was changed by somebody else while it is in use; what they made of it is kept beside it, and not used: edit it while the gateway is stopped',
    { path, copy },
  )
}

/** Best effort: where it fails, the next write replaces the file by one of mode 0600. */
export function closeToOthers(path: string, logger: Logger): void {
  try {
    if ((statSync(path).mode & 0o077) === 0) return
    chmodSync(path, 0o600)
    logger.warn('the store was readable by other users; its mode is 0600 now', { path })
  } catch {
    return
  }
}

/**
 * Removes what writes that were cut off have left. write-file-atomic names its files `<path>.<number>`, as
 * people name backups: only those made since the process took the lock that it never released.
 */
export function removeTemporaryFiles(path: string, left: LockOwner, logger: Logger): void {
  const prefix = `${basename(path)}.`
  try {
    for (const name of readdirSync(dirname(path))) {
      if (!name.startsWith(prefix) || !/^\d{1,10}$/.test(name.slice(prefix.length))) continue
      const file = join(dirname(path), name)
      if (statSync(file).mtimeMs >= left.since) rmSync(file, { force: true })
    }
  } catch (error) {
    logger.warn('temporary files beside the store could not be removed', { path, error })
  }
}

function readOrUndefined(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new McpDcrError('store_unavailable', `The store ${path} cannot be read.`, {
      cause,
      fix: 'Make it readable for the gateway, or name another path.',
    })
  }
}

function realpathOrUndefined(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
