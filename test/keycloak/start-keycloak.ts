import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { listen } from '../support/server.js'

export interface KeycloakAddress {
  readonly url: string
  /** An administrator of the master realm. */
  readonly username: string
  readonly password: string
}

interface RunningKeycloak extends KeycloakAddress {
  /** Where it was had from. */
  readonly how: string
  /** How long it took to unpack and start. */
  readonly seconds: number
  stop(): Promise<void>
}

const DEFAULT_VERSION = '26.7.3'

/** In preview: without it no secret of a client ever expires. */
const FEATURES = '--features=client-secret-rotation'

const READY = 'Listening on:'
const START_TIMEOUT = 180_000

const run = promisify(execFile)

/**
 * Starts a Keycloak of its own on a free port of loopback, its data in a temporary directory or in memory:
 * with Docker where an engine answers, else with the distribution from Maven Central.
 *
 * @throws Error where neither can be had, or it does not start: there is nothing to test then
 */
export async function startKeycloak(
  admin: Omit<KeycloakAddress, 'url'>,
  version = DEFAULT_VERSION,
): Promise<RunningKeycloak> {
  const started = Date.now()
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-keycloak-'))
  try {
    const { how, child } = (await hasDocker())
      ? withDocker(version, port, admin)
      : await withMaven(version, port, admin, directory)
    const leave = () => terminate(child)
    process.once('exit', leave)
    const stop = async () => {
      process.off('exit', leave)
      await end(child)
      rmSync(directory, { recursive: true, force: true })
    }
    await ready(child).catch(async (error: unknown) => {
      await stop()
      throw error
    })
    const seconds = Math.round((Date.now() - started) / 1000)
    return { url: `http://localhost:${port}`, ...admin, how, seconds, stop }
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

async function freePort(): Promise<number> {
  const server = await listen()
  await server.close()
  return server.port
}

async function hasDocker(): Promise<boolean> {
  return run('docker', ['version', '--format', '{{.Server.Version}}']).then(
    () => true,
    () => false,
  )
}

interface Launched {
  readonly how: string
  readonly child: ChildProcess
}

function environment({ username, password }: Omit<KeycloakAddress, 'url'>): Record<string, string> {
  return { KC_BOOTSTRAP_ADMIN_USERNAME: username, KC_BOOTSTRAP_ADMIN_PASSWORD: password }
}

function withDocker(version: string, port: number, admin: Omit<KeycloakAddress, 'url'>): Launched {
  const variables = Object.entries(environment(admin)).flatMap(([name, value]) => ['-e', `${name}=${value}`])
  const image = `quay.io/keycloak/keycloak:${version}`
  const publish = `127.0.0.1:${port}:8080`
  const child = spawn(
    'docker',
    [...['run', '--rm', '-p', publish, ...variables, image], ...['start-dev', '--db=dev-mem', FEATURES]],
    { detached: true },
  )
  return { how: `the image ${image}`, child }
}

async function withMaven(
  version: string,
  port: number,
  admin: Omit<KeycloakAddress, 'url'>,
  directory: string,
): Promise<Launched> {
  const artifact = `org.keycloak:keycloak-quarkus-dist:${version}:zip`
  const unpack = ['-q', '-B', 'dependency:unpack', `-Dartifact=${artifact}`, `-DoutputDirectory=${directory}`]
  await run('mvn', unpack, { cwd: directory }).catch((cause: Error) => {
    throw new Error(
      'No Keycloak can be had, so nothing was tested: KEYCLOAK_URL is not set, no Docker engine answers, ' +
        `and mvn could not get ${artifact}.`,
      { cause },
    )
  })
  const child = spawn(
    'sh',
    ['bin/kc.sh', 'start-dev', '--http-host=127.0.0.1', `--http-port=${port}`, '--db=dev-mem', FEATURES],
    {
      cwd: join(directory, `keycloak-${version}`),
      detached: true,
      env: { ...process.env, ...environment(admin) },
    },
  )
  return { how: `Maven Central (${artifact})`, child }
}

/** Keycloak says in its log when it listens, in a container too. */
function ready(child: ChildProcess): Promise<void> {
  let log = ''
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer)
      reject(new Error(`Keycloak ${why}. Its log:\n${log.slice(-4000)}`))
    }
    const timer = setTimeout(() => fail('did not start in time'), START_TIMEOUT)
    const read = (chunk: Buffer) => {
      log += chunk.toString()
      if (!log.includes(READY)) return
      clearTimeout(timer)
      resolve()
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('error', (error) => fail(`could not be run: ${error.message}`))
    child.once('exit', (code) => fail(`ended with status ${code}`))
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  terminate(child)
  await ended
}

/** With all that it started: kc.sh runs one Java for the build, and then another for the server. */
function terminate(child: ChildProcess): void {
  if (isRunning(child)) process.kill(-child.pid, 'SIGTERM')
}

function isRunning(child: ChildProcess): child is ChildProcess & { pid: number } {
  return child.exitCode === null && child.signalCode === null && child.pid !== undefined
}
