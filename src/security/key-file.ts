import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { McpDcrError } from '../errors.js'
import { makePrivateDirectory } from './private-directory.js'

/**
 * The key in a file of mode 0600; it is made if there is none.
 *
 * @throws McpDcrError `encryption_key_invalid` where it can be neither read nor made.
 */
export function readKeyFile(path: string): string {
  try {
    return readExisting(path) ?? createKeyFile(path)
  } catch (cause) {
    throw new McpDcrError('encryption_key_invalid', `The key file ${path} cannot be read or made.`, {
      cause,
      fix: 'Make it readable for the gateway alone (mode 0600), or set OAUTH_ENCRYPTION_KEY.',
    })
  }
}

function readExisting(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
    return text
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Written aside and then linked, which fails if the name is taken: opening the file itself exclusively
 * would show an empty key to another process that starts now, and leave one after a crash.
 */
function createKeyFile(path: string): string {
  const directory = dirname(resolve(path))
  makePrivateDirectory(directory)
  const aside = `${path}.${randomBytes(6).toString('hex')}`
  const key = randomBytes(32).toString('base64url')
  try {
    writeNewFile(aside, `${key}\n`)
    linkExclusively(aside, path)
    syncDirectory(directory)
    return key
  } catch (error) {
    const other = errnoOf(error) === 'EEXIST' ? readExisting(path) : undefined
    if (other === undefined) throw error
    return other
  } finally {
    rmSync(aside, { force: true })
  }
}

function linkExclusively(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw error
    // A file system without hard links.
    copyFileSync(from, to, constants.COPYFILE_EXCL)
  }
}

/** Best effort: Windows cannot open a directory. */
function syncDirectory(path: string): void {
  try {
    const directory = openSync(path, 'r')
    try {
      fsyncSync(directory)
    } finally {
      closeSync(directory)
    }
  } catch {
    return
  }
}

/** Synced: what is sealed with a key that a power cut took cannot be opened again. */
function writeNewFile(path: string, content: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeFileSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
