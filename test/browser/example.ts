import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const ROOT = dirname(dirname(import.meta.dirname))
const CHECKOUT = ['package.json', 'tsconfig.json', 'node_modules', 'src', 'test', 'example-app']

/** The example, in a working directory of its own, so that nothing of the developer's is read or written. */
export interface Example {
  readonly url: string
  /** `npm run example`, until it says where to open it. */
  start(env?: Record<string, string>): Promise<void>
  /** Ctrl+C: the terminal sends it to every process of the command. */
  stop(): Promise<void>
  /** Ends it without a warning, as a power cut would. */
  kill(): Promise<void>
  remove(): Promise<void>
}

export async function checkOutExample(): Promise<Example> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'mcp-dcr-example-')))
  for (const name of CHECKOUT) await symlink(join(ROOT, name), join(directory, name))
  const port = await freePorts(3)
  const url = `http://localhost:${port}`
  let end = async (_signal: NodeJS.Signals): Promise<void> => undefined

  return {
    url,
    async start(more = {}) {
      const { OAUTH_ENCRYPTION_KEY: _, MCP_SERVER_URL: __, ...env } = process.env
      const npm = spawn('npm', ['run', 'example'], {
        cwd: directory,
        env: { ...env, PORT: String(port), ...more },
        detached: true,
      })
      let output = ''
      const ended = once(npm, 'close')
      end = async (signal) => {
        if (npm.pid !== undefined && npm.exitCode === null) process.kill(-npm.pid, signal)
        await ended
        end = async () => undefined
      }
      const opened = new Promise<void>((resolve) => {
        for (const stream of [npm.stdout, npm.stderr]) {
          stream.setEncoding('utf8').on('data', (text: string) => {
            output += text
            if (output.includes(`Open ${url} `)) resolve()
          })
        }
      })
      const failed = ended.then(() => Promise.reject(new Error(`npm run example ended:\n${output}`)))
      await Promise.race([opened, failed])
      failed.catch(() => undefined)
    },
    stop: () => end('SIGINT'),
    kill: () => end('SIGKILL'),
    async remove() {
      await end('SIGINT')
      await rm(directory, { recursive: true })
    },
  }
}

/** The first of so many free ports in a row, below those that the system gives to whoever asks for any. */
async function freePorts(count: number): Promise<number> {
  for (let first = 20_000 + (process.pid % 1000) * 10; first < 32_000; first += 10) {
    const ports = Array.from({ length: count }, (_, i) => first + i)
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first
  }
  throw new Error(`There are no ${count} free ports in a row.`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, 'localhost', () => resolve(true))
  })
  if (free) await new Promise((resolve) => server.close(resolve))
  return free
}
