import { parseArgs } from 'node:util'
import type { McpDcrError } from '../errors.js'
import { encodeKey } from '../store/key-text.js'
import { copyStore, type Counts } from './copy-store.js'
import { describeStore, keyFileOf, openNamedStore } from './open-named-store.js'

const USAGE = `Usage: mcp-dcr migrate --from <store> --to <store> [--overwrite]

Copies the registrations and tokens of one store into another. Stop the gateway first. What was copied
already is left alone, so that a copy that was cut off goes on when it is run again.

A store is
  data/store.json                          the path of a JSON file
  postgres://host/database?schema=oauth    a Postgres; without a schema, the first one of its search_path
  redis://host:6379/0?prefix=mcp-dcr:      a Redis; without a prefix, mcp-dcr:

  --overwrite   replaces records of the other store that differ; without it they are counted and kept
  --help        says this

It ends with 0 where all was copied, with 1 where it failed or where records differ, with 2 where it was
called wrongly.`

const OK = 0
const FAILED = 1
const MISUSED = 2

/** Where a command says what it did, and what was wrong. */
export interface Terminal {
  log(line: string): void
  error(line: string): void
}

/**
 * Runs the command line tool. It prints no secret: no URL, nothing of a record but its key.
 *
 * @param args without the program's own name
 * @returns the exit code
 */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const command = parse(args)
    if (command === 'help') {
      terminal.log(USAGE)
      return OK
    }
    return await migrate(command, terminal)
  } catch (error) {
    if (error instanceof Misuse) {
      terminal.error(`mcp-dcr: ${error.message}\n\n${USAGE}`)
      return MISUSED
    }
    const { message, fix } = error as Partial<McpDcrError>
    terminal.error(`mcp-dcr: ${message} ${fix ?? ''}`.trimEnd())
    return FAILED
  }
}

class Misuse extends Error {}

interface Migration {
  readonly from: string
  readonly to: string
  readonly overwrite: boolean
}

function parse(args: readonly string[]): Migration | 'help' {
  const { values, positionals } = parseOptions(args)
  if (values.help) return 'help'
  const [command, ...more] = positionals
  if (command === undefined) throw new Misuse('A command is missing.')
  if (command !== 'migrate') throw new Misuse(`There is no command ${JSON.stringify(command)}.`)
  if (more.length > 0) throw new Misuse('Name the stores with --from and --to.')
  const { from, to, overwrite } = values
  if (!from || !to) throw new Misuse(`--${from ? 'to' : 'from'} is missing.`)
  if (from === to) throw new Misuse('--from and --to are the same store.')
  return { from, to, overwrite }
}

function parseOptions(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        from: { type: 'string' },
        to: { type: 'string' },
        overwrite: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new Misuse((error as Error).message)
  }
}

async function migrate({ from, to, overwrite }: Migration, terminal: Terminal): Promise<number> {
  const source = await openNamedStore(from, 'source', terminal)
  try {
    const target = await openNamedStore(to, 'target', terminal)
    try {
      terminal.log(`From ${describeStore(from)} to ${describeStore(to)}:`)
      const differing: string[] = []
      const onDifference = (collection: string, key: string): void =>
        void differing.push(`${collection} ${encodeKey(key)}`)
      const counts = await copyStore(source.store, target.store, { overwrite, onDifference })
      for (const [collection, count] of counts) terminal.log(`  ${collection}: ${describeCounts(count)}`)
      return report(differing, from, terminal)
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

const MOST_NAMED = 20

function report(differing: readonly string[], from: string, terminal: Terminal): number {
  if (differing.length > 0) {
    terminal.error('Kept as they were, since they differ; --overwrite replaces them:')
    for (const name of differing.slice(0, MOST_NAMED)) terminal.error(`  ${name}`)
    if (differing.length > MOST_NAMED) terminal.error(`  and ${differing.length - MOST_NAMED} more`)
    return FAILED
  }
  const keyFile = keyFileOf(from)
  if (keyFile !== undefined)
    terminal.log(`The key is not copied: set OAUTH_ENCRYPTION_KEY to the content of ${keyFile}.`)
  return OK
}

function describeCounts({ copied, overwritten, same, different }: Counts): string {
  const parts = [`${copied} copied`, `${same} already there`]
  if (overwritten > 0) parts.push(`${overwritten} overwritten`)
  if (different > 0) parts.push(`${different} different`)
  return parts.join(', ')
}
