import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const MODULES = join(import.meta.dirname, 'node_modules')

/** A file of an installed client. */
export function fileOf(path: string): string {
  const file = join(MODULES, path)
  if (!existsSync(file)) throw new Error(`${file} is missing: npm ci --prefix test/clients --ignore-scripts`)
  return file
}

export function versionOf(name: string): string {
  return (JSON.parse(readFileSync(fileOf(join(name, 'package.json')), 'utf8')) as { version: string }).version
}

/** Node.js 22.19 or later, which the Inspector needs: the one that runs, or the one that was installed for it. */
export function newerNode(): string {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 19) ? process.execPath : fileOf('node22/bin/node')
}

/** What opens a browser on Linux, on macOS, and where a program asks the environment. */
const OPENERS = ['xdg-open', 'open', 'sensible-browser', 'x-www-browser']

/** An environment in which programs have a home of their own, and can open no browser: see {@link openedIn}. */
export function environmentIn(home: string): Record<string, string> {
  const bin = join(home, 'bin')
  if (!existsSync(bin)) {
    mkdirSync(bin)
    for (const name of OPENERS) {
      writeFileSync(join(bin, name), `#!/bin/sh\necho "$0 $*" >> '${join(home, 'opened')}'\n`)
      chmodSync(join(bin, name), 0o755)
    }
  }
  return {
    HOME: home,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    BROWSER: join(bin, 'xdg-open'),
    NO_COLOR: '1',
  }
}

/** What was to be opened in a browser. */
export function openedIn(home: string): string {
  const file = join(home, 'opened')
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

/** Names of the files that a program has left in its home. */
export function leftIn(home: string): string[] {
  return existsSync(home) ? readdirSync(home, { recursive: true, encoding: 'utf8' }) : []
}

/** Runs a program without a terminal, and returns all that it printed. */
export async function run(command: string, args: string[], home: string) {
  const program = spawn(command, args, { env: environmentIn(home), stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  program.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  program.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [status] = (await once(program, 'close')) as [number | null]
  return { status, stdout, stderr }
}
