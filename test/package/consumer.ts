import { execFile, spawn } from 'node:child_process'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const ROOT = dirname(dirname(import.meta.dirname))
const run = promisify(execFile)

/** The packed package. */
export interface Tarball {
  readonly path: string
  /** The files in it, sorted. */
  readonly files: readonly string[]
  remove(): Promise<void>
}

/** Packs what was built. No scripts: the build has been made, and no test may change it. */
export async function packPackage(): Promise<Tarball> {
  const directory = await temporaryDirectory()
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory]
  const { stdout } = await run('npm', args, { cwd: ROOT })
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  return {
    path: join(directory, packed.filename),
    files: packed.files.map(({ path }) => path).sort(),
    remove: () => rm(directory, { recursive: true }),
  }
}

/** How a TypeScript project may find the package's types. */
export type Resolution = 'NodeNext' | 'Bundler'

/** A program of the project that runs until it is told to end. */
export interface Program {
  /** The first line that it printed. */
  readonly line: string
  /** Closes its standard input, and waits for its end; resolves to its exit code. */
  end(): Promise<number | null>
}

/** An empty project into which the package was installed. */
export interface Consumer {
  readonly directory: string
  write(name: string, text: string): Promise<void>
  /** Writes a file and runs it; resolves to what it printed. */
  node(name: string, code: string): Promise<string>
  /** Writes a file and runs it until it has printed a line. */
  start(name: string, code: string): Promise<Program>
  /** Writes a file and compiles it, strict, declarations of all packages included; resolves to the compiler's complaints. */
  typecheck(name: string, code: string, resolution: Resolution): Promise<string>
  remove(): Promise<void>
}

export async function createConsumer(tarball: Tarball, dependencies: readonly string[]): Promise<Consumer> {
  const directory = await temporaryDirectory()
  const write = (name: string, text: string): Promise<void> => writeFile(join(directory, name), text)
  await write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund']
  await run('npm', ['install', ...quietly, tarball.path, ...dependencies], { cwd: directory })
  const env = { ...process.env, OAUTH_ENCRYPTION_KEY: undefined }

  return {
    directory,
    write,
    async node(name, code) {
      await write(name, code)
      return (await run(process.execPath, [name], { cwd: directory, env, timeout: 30_000 })).stdout
    },
    async start(name, code) {
      await write(name, code)
      const program = spawn(process.execPath, [name], {
        cwd: directory,
        env,
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      const closed = new Promise<number | null>((resolve) => program.once('close', resolve))
      const lines = createInterface(program.stdout)
      const line = await new Promise<string>((resolve, reject) => {
        lines.once('line', resolve)
        void closed.then((code) => reject(new Error(`${name} ended with ${code} before it printed a line`)))
      })
      return {
        line,
        end: () => {
          program.stdin.end()
          return closed
        },
      }
    },
    async typecheck(name, code, resolution) {
      await write(name, code)
      const options = {
        noEmit: 'true',
        strict: 'true',
        module: resolution === 'Bundler' ? 'esnext' : resolution,
        moduleResolution: resolution,
        target: 'es2022',
        types: 'node',
        skipLibCheck: 'false',
      }
      const args = Object.entries(options).flatMap(([option, value]) => [`--${option}`, value])
      const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
      try {
        return (await run(process.execPath, [compiler, ...args, name], { cwd: directory })).stdout
      } catch (error) {
        return (error as { stdout: string }).stdout
      }
    },
    remove: () => rm(directory, { recursive: true }),
  }
}

async function temporaryDirectory(): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), 'mcp-dcr-package-')))
}
