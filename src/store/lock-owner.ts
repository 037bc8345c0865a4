import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** Which process holds a lock; kept in a file beside it. */
export interface LockOwner {
  readonly pid: number
  readonly host: string
  /** When the process started, in the kernel's own unit; undefined where there is no /proc. */
  readonly processStart?: string
  /** When it took the lock, in epoch milliseconds. */
  readonly since: number
  /** Differs for every lock taken. */
  readonly token: string
}

export function describeSelf(): LockOwner {
  const { start } = readProcess(process.pid) ?? {}
  return {
    pid: process.pid,
    host: hostname(),
    ...(start !== undefined && { processStart: start }),
    since: Date.now(),
    token: randomUUID(),
  }
}

export function writeOwner(path: string, owner: LockOwner): void {
  writeFileSync(path, `${JSON.stringify(owner)}\n`, { mode: 0o600 })
}

/** Undefined where there is none, or none that can be understood. */
export function readOwner(path: string): LockOwner | undefined {
  try {
    const owner = JSON.parse(readFileSync(path, 'utf8')) as Partial<LockOwner> | null
    const usable =
      Number.isSafeInteger(owner?.pid) && (owner?.pid ?? 0) > 0 && typeof owner?.host === 'string'
    return usable && Number.isFinite(owner.since) ? (owner as LockOwner) : undefined
  } catch {
    return undefined
  }
}

export function removeOwner(path: string): void {
  rmSync(path, { force: true })
}

/**
 * Whether the process is known to have ended. A pid alone does not tell: a container's restarted process
 * gets its predecessor's, so that the start time is compared too.
 */
export function hasEnded(owner: LockOwner, heldByThisProcess: boolean): boolean {
  if (owner.host !== hostname()) return false
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    // EPERM: it lives, as another user's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true
  }
  const now = readProcess(owner.pid)
  if (now !== undefined && owner.processStart !== undefined) {
    return now.zombie || now.start !== owner.processStart
  }
  return owner.pid === process.pid && !heldByThisProcess
}

/** proc(5): the state is field 3, the start time field 22; field 2 may itself hold spaces and parentheses. */
function readProcess(pid: number): { start: string; zombie: boolean } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const start = fields[19]
    return start === undefined ? undefined : { start, zombie: fields[0] === 'Z' }
  } catch {
    return undefined
  }
}
