import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listen } from '../support/server.js'

/** A server of the tests. */
export interface RunningServer {
  readonly url: string
  /** Ends it, and removes what it kept. */
  stop(): Promise<void>
}

export interface Command {
  readonly command: string
  readonly args: readonly string[]
  /** Who it runs as; the caller by default. */
  readonly identity?: Pick<SpawnOptions, 'uid' | 'gid'>
  /** The signal that ends it at once, in an orderly way. */
  readonly signal: 'INT' | 'TERM'
  /** What it prints when it answers. */
  readonly ready: string
  /** What it keeps; removed when it ends. */
  readonly directory: string
}

const START_TIMEOUT = 60_000

/** The server ends when this process does, however that ends: its standard input is closed then. */
const UNTIL_INPUT_ENDS = `
directory=$1 signal=$2; shift 2
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(cat <&3 >/dev/null; kill -s "$signal" $server) &
wait $server
status=$?
rm -rf "$directory"
exit $status`

/**
 * Runs a server until it is stopped.
 *
 * @throws Error with its log, where it does not start
 */
export async function startServer(how: Command): Promise<() => Promise<void>> {
  const { command, args, identity, signal, ready, directory } = how
  const child = spawn('sh', ['-c', UNTIL_INPUT_ENDS, 'sh', directory, signal, command, ...args], {
    ...identity,
    // Out of reach of the terminal's interrupt, which would leave the directory behind.
    detached: true,
    cwd: directory,
    stdio: 'pipe',
  })
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    child.stdin.end()
    await exited
  }
  await saysItIsReady(child, command, ready).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  return stop
}

function saysItIsReady(child: ChildProcess, command: string, ready: string): Promise<void> {
  let log = ''
  return new Promise((resolve, reject) => {
    const settle = (then: () => void): void => {
      clearTimeout(timer)
      then()
    }
    const fail = (why: string): void =>
      settle(() => reject(new Error(`${command} ${why}. Its log:\n${log.slice(-4000)}`)))
    const timer = setTimeout(() => fail('did not start in time'), START_TIMEOUT)
    const read = (chunk: Buffer): void => {
      log += chunk.toString()
      if (log.includes(ready)) settle(resolve)
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('exit', (code) => fail(`ended with ${code}`))
    child.once('error', (error) => fail(`could not be run: ${error.message}`))
  })
}

/** An empty directory that belongs to who the server runs as. */
export function serverDirectory(name: string, { uid, gid }: NonNullable<Command['identity']> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), `mcp-dcr-${name}-`))
  if (uid !== undefined && gid !== undefined) chownSync(directory, uid, gid)
  return directory
}

export async function freePort(): Promise<number> {
  const { port, close } = await listen()
  await close()
  return port
}
