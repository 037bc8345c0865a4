import { rmdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { McpDcrError } from '../errors.js'
import { describeSelf, hasEnded, readOwner, removeOwner, writeOwner, type LockOwner } from './lock-owner.js'

/** A held lock on a file. */
export interface FileLock {
  /** The process that held it before and never released it; undefined where the last one did. */
  readonly left: LockOwner | undefined
  /** @throws McpDcrError `store_locked` where another process took it meanwhile. */
  assertHeld(): void
  release(): void
}

/** How long a lock lives without its holder's heartbeat, in milliseconds: the holder may be on another host. */
const STALE_MS = 10_000

/** Locks of this process by path, and how each is released. */
const held = new Map<string, () => void>()

/**
 * Locks a file for this process: a directory `<path>.lock` with a heartbeat, and `<path>.lock.owner`. A
 * lock whose holder has ended on this host is taken over at once, so that a restart after SIGKILL works.
 *
 * @param onLost called when another process took the lock over: this one was stopped for too long
 * @throws McpDcrError `store_locked`, `store_unavailable`.
 */
export function lockFile(path: string, onLost: (cause: Error) => void): FileLock {
  const ownerPath = `${path}.lock.owner`
  const closeDoor = openDoor(path)
  try {
    const left = readOwner(ownerPath)
    let lost: Error | undefined
    const release = acquire(path, left, (cause) => {
      lost = cause
      onLost(cause)
    })
    const self = describeSelf()
    try {
      writeOwner(ownerPath, self)
    } catch (cause) {
      release()
      throw cannotLock(path, cause)
    }
    if (held.size === 0) process.on('exit', releaseAll)
    // The heartbeat notices a takeover seconds late; the owner's file tells at once.
    const stillHeld = (): boolean =>
      lost === undefined && (readOwner(ownerPath)?.token ?? self.token) === self.token
    const lock: FileLock = {
      left,
      assertHeld() {
        if (!stillHeld()) throw lockLost(path, lost)
      },
      release() {
        held.delete(path)
        if (held.size === 0) process.off('exit', releaseAll)
        if (!stillHeld()) return
        removeOwner(ownerPath)
        ignoreErrors(release)
      },
    }
    held.set(path, lock.release)
    return lock
  } finally {
    closeDoor()
  }
}

function acquire(
  path: string,
  left: LockOwner | undefined,
  onCompromised: (cause: Error) => void,
): () => void {
  const lockfilePath = `${path}.lock`
  const options = { realpath: false, lockfilePath, stale: STALE_MS, onCompromised }
  try {
    return properLockfile().lockSync(path, options)
  } catch (error) {
    if (codeOf(error) !== 'ELOCKED') throw cannotLock(path, error)
    if (left === undefined || !hasEnded(left, held.has(path))) throw locked(path, left)
  }
  try {
    rmdirSync(lockfilePath)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw cannotLock(path, error)
  }
  try {
    return properLockfile().lockSync(path, options)
  } catch (error) {
    throw cannotLock(path, error)
  }
}

/**
 * Held for the moment of locking, so that the lock and the owner's file are judged and changed together:
 * without it, two processes that find the same dead owner could each remove the other's new lock.
 */
function openDoor(path: string): () => void {
  const lockfilePath = `${path}.lock.opening`
  try {
    const release = properLockfile().lockSync(`${path}.opening`, {
      realpath: false,
      lockfilePath,
      stale: STALE_MS / 2,
      onCompromised: () => undefined,
    })
    return () => ignoreErrors(release)
  } catch (error) {
    throw codeOf(error) === 'ELOCKED' ? locked(path, undefined) : cannotLock(path, error)
  }
}

function releaseAll(): void {
  for (const release of held.values()) release()
}

interface SignalExit {
  unload?(): void
}

/** Not imported at the top: it patches `fs` as soon as it is loaded. */
function properLockfile(): typeof import('proper-lockfile') {
  const require = createRequire(import.meta.url)
  const { __signal_exit_emitter__: before } = process as { __signal_exit_emitter__?: { count: number } }
  const inUse = (before?.count ?? 0) > 0
  const library = require('proper-lockfile') as typeof import('proper-lockfile')
  // It listens to the process's signals by signal-exit 3, which ends the process in the middle of an app's own
  // shutdown: a `process.once('SIGTERM')` handler is not counted once it runs. We release by ourselves.
  if (!inUse) (createRequire(require.resolve('proper-lockfile'))('signal-exit') as SignalExit).unload?.()
  return library
}

function locked(path: string, owner: LockOwner | undefined): McpDcrError {
  const who = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`
  return new McpDcrError('store_locked', `The store ${path} is in use by ${who}.`, {
    fix:
      'One process at a time may use a file: stop that one, or give this one another file, or use a shared store. ' +
      `If it has ended on another host, wait ${STALE_MS / 1000} seconds.`,
  })
}

function lockLost(path: string, cause: Error | undefined): McpDcrError {
  return new McpDcrError(
    'store_locked',
    'Another process has taken the store over, so nothing was written.',
    {
      cause: cause ?? new Error(`the owner of ${path}.lock has changed`),
      fix: 'Let one process use the file, and restart this one.',
    },
  )
}

function cannotLock(path: string, cause: unknown): McpDcrError {
  return new McpDcrError('store_unavailable', `The store ${path} cannot be locked.`, {
    cause,
    fix: 'Check that its directory is writable for the gateway and has free space.',
  })
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function ignoreErrors(action: () => void): void {
  try {
    action()
  } catch {
    return
  }
}
