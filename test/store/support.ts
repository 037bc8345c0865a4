import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'
import type { ErrorCode } from '../../src/errors.js'
import type { Logger } from '../../src/model.js'
import { openJsonFileStore, type JsonFileOptions, type JsonFileStore } from '../../src/store/json-file.js'

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-store-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export interface LogLine {
  level: keyof Logger
  message: string
  details: object | undefined
}

export function recordingLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = []
  const at =
    (level: keyof Logger) =>
    (message: string, details?: object): void =>
      void lines.push({ level, message, details })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Opens a store and closes it after the test. */
export function openStore(path: string, options: Partial<JsonFileOptions> = {}): JsonFileStore {
  const store = openJsonFileStore({ path, clock: Date.now, logger: recordingLogger(), ...options })
  onTestFinished(() => store.close())
  return store
}

/** For `toThrow` and `rejects.toThrow`: an McpDcrError of this code. */
export function errorOf(code: ErrorCode): Error {
  return expectObject({ name: 'McpDcrError', code })
}

function expectObject(shape: object): Error {
  // Vitest compares an asymmetric matcher given to toThrow with the whole error.
  return expect.objectContaining(shape) as Error
}

/** A promise and what settles it. */
export function gate(): { opened: Promise<void>; open: () => void; fail: (error: Error) => void } {
  let open!: () => void
  let fail!: (error: Error) => void
  const opened = new Promise<void>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { opened, open, fail }
}

/**
 * Runs store-process.ts as a second process; resolves with what it says first.
 *
 * @param limits a shell command that goes before
 */
export async function startStoreProcess(
  path: string,
  task: string,
  limits = ':',
): Promise<{ child: ChildProcess; said: string }> {
  const script = fileURLToPath(new URL('./store-process.ts', import.meta.url))
  const child = spawn(
    'sh',
    ['-c', `${limits}; exec "$@"`, 'sh', process.execPath, '--import', 'tsx', script, path, task],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  child.stdout.setEncoding('utf8')
  const exited = once(child, 'exit').then((reason) => [`ended: ${reason.join(' ')}`])
  const [said] = (await Promise.race([once(child.stdout, 'data'), exited])) as [string]
  return { child, said: said.trim() }
}

export async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}
