/**
 * Builds the package. tsc compiles src into build/; what is published is bundled from there into dist/: a process
 * that imports the package then opens a handful of files, not two hundred. No dependency is bundled but zod, of which a
 * tenth is used: whole, it takes nearly as long to load as Express.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

for (const directory of ['build', 'dist']) rmSync(directory, { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
})

const { exports, bin, dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const targets = Object.values(exports).filter((target) => typeof target === 'object')
const modules = [...targets.map((target) => target.default), ...Object.values(bin)]
await build({
  entryPoints: modules.map((path) => join('build', path.replace(/^(?:\.\/)?dist\//, ''))),
  outbase: 'build',
  outdir: 'dist',
  bundle: true,
  splitting: true,
  external: Object.keys({ ...dependencies, ...peerDependencies }),
  format: 'esm',
  platform: 'node',
  target: 'node20',
  charset: 'utf8',
  logLevel: 'warning',
})

copyFileSync('node_modules/zod/LICENSE', 'dist/zod.LICENSE')

/** The types that the published ones are made of. */
const copied = new Set()
const copyTypes = (path) => {
  if (copied.has(path)) return
  copied.add(path)
  mkdirSync(dirname(join('dist', path)), { recursive: true })
  copyFileSync(join('build', path), join('dist', path))
  const imports = readFileSync(join('build', path), 'utf8').matchAll(
    /(?:from |import\()?['"](\.{1,2}\/[^'"]+)\.js['"]/g,
  )
  for (const [, name] of imports) copyTypes(join(dirname(path), `${name}.d.ts`))
}
for (const { types } of targets) copyTypes(types.replace('./dist/', ''))
