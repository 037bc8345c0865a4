import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { interleave } from '../rounds.js'
import { atMost, ratioRow, type Goal, type Row, type Scenario } from '../table.js'

const run = promisify(execFile)
const ROOT = dirname(dirname(import.meta.dirname))
const OTHER = 'express-openid-connect'
const KIB = 1024

interface Locked {
  readonly packages: Readonly<Record<string, { readonly dependencies?: Readonly<Record<string, string>> }>>
}

export const packageScenario: Scenario = {
  name: 'the package',
  async run({ quick }) {
    const directory = join(ROOT, 'node_modules', OTHER)
    const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      exports: { '.': { default: string } }
    }
    const own = pathToFileURL(join(ROOT, exports['.'].default)).href
    const times = await interleave(quick ? { rounds: 2, warmUp: 1 } : { rounds: 21, warmUp: 2 }, {
      ours: () => importTime(own),
      theirs: () => importTime(OTHER),
    })
    const [ours, theirs] = await Promise.all([sizesOf(ROOT, ''), sizesOf(directory, `node_modules/${OTHER}`)])
    return [
      ratioRow({
        measure: 'import() in a fresh process',
        unit: 'ms',
        ours: times.ours,
        against: times.theirs,
        side: OTHER,
        goal: atMost(1),
      }),
      sizeRow('packed, with all dependencies', ours.packed / KIB, theirs.packed / KIB, 'KiB', atMost(1)),
      sizeRow('packed, alone', ours.packedAlone / KIB, theirs.packedAlone / KIB, 'KiB'),
      sizeRow(
        'installed, with all dependencies',
        ours.installed / KIB,
        theirs.installed / KIB,
        'KiB',
        atMost(1),
      ),
      sizeRow('packages installed with it', ours.dependencies, theirs.dependencies, '', atMost(1)),
    ]
  },
}

function sizeRow(measure: string, ours: number, theirs: number, unit: string, goal?: Goal): Row {
  return ratioRow({ measure, unit, ours: [ours], against: [theirs], side: OTHER, goal })
}

/** In milliseconds, express included: both need it. */
async function importTime(module: string): Promise<number> {
  const program = `const start = performance.now()
    await import(${JSON.stringify(module)})
    console.log(performance.now() - start)`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], { cwd: ROOT })
  return Number(stdout)
}

/** In bytes. */
interface Sizes {
  readonly packed: number
  readonly packedAlone: number
  readonly installed: number
  readonly dependencies: number
}

/** @param path of the package, in the lock file */
async function sizesOf(directory: string, path: string): Promise<Sizes> {
  const dependencies = dependenciesOf(path).map((each) => join(ROOT, each))
  const { stdout } = await run(
    'npm',
    ['pack', '--dry-run', '--json', '--ignore-scripts', directory, ...dependencies],
    { cwd: ROOT, maxBuffer: 64 * 1024 * KIB },
  )
  const packed = JSON.parse(stdout) as [Packed, ...Packed[]]
  const installed = await Promise.all(dependencies.map(sizeOfPackage))
  return {
    packed: sum(packed.map(({ size }) => size)),
    packedAlone: packed[0].size,
    installed: packed[0].unpackedSize + sum(installed),
    dependencies: dependencies.length,
  }
}

interface Packed {
  readonly size: number
  readonly unpackedSize: number
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

/** Where all that is installed with a package is; express, a peer of both, is not counted. */
function dependenciesOf(path: string): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Locked
  const found = new Set<string>()
  const visit = (from: string): void => {
    for (const name of Object.keys(packages[from]?.dependencies ?? {})) {
      const at = resolveFrom(packages, from, name)
      if (found.has(at)) continue
      found.add(at)
      visit(at)
    }
  }
  visit(path)
  return [...found]
}

/** As Node does: beside the package that asks, then further up. */
function resolveFrom(packages: Locked['packages'], from: string, name: string): string {
  for (let place = from; ; place = place.slice(0, Math.max(0, place.lastIndexOf('/node_modules/')))) {
    const at = join(place, 'node_modules', name)
    if (Object.hasOwn(packages, at)) return at
    if (place === '') throw new Error(`The lock file has no ${name}.`)
  }
}

/** Without the packages inside of it, which are counted by themselves. */
async function sizeOfPackage(directory: string): Promise<number> {
  const entries = await readdir(directory, { withFileTypes: true })
  const sizes = entries.map(async (entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? 0 : sizeOfPackage(path)
    return entry.isFile() ? (await stat(path)).size : 0
  })
  return sum(await Promise.all(sizes))
}
