import { execFile } from 'node:child_process'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
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

/** An empty project into which the package was installed. */
export interface Consumer {
  /** Writes a file and runs it; resolves to what it printed. */
  node(name: string, code: string): Promise<string>
  /** Writes a file and compiles it, strict, declarations of all packages included; resolves to the compiler's complaints. */
  typecheck(name: string, code: string): Promise<string>
  remove(): Promise<void>
}

export async function createConsumer(tarball: Tarball, dependencies: readonly string[]): Promise<Consumer> {
  const directory = await temporaryDirectory()
  const write = (name: string, text: string): Promise<void> => writeFile(join(directory, name), text)
  await write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  await run(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball.path, ...dependencies],
    {
      cwd: directory,
    },
  )
  return {
    async node(name, code) {
      await write(name, code)
      return (await run(process.execPath, [name], { cwd: directory, timeout: 30_000 })).stdout
    },
    async typecheck(name, code) {
      await write(name, code)
      const options = [
        '--noEmit',
        '--strict',
        '--module',
        'nodenext',
        '--target',
        'es2022',
        '--types',
        'node',
      ]
      const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
      const args = [compiler, ...options, '--skipLibCheck', 'false', name]
      try {
        return (await run(process.execPath, args, { cwd: directory })).stdout
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
