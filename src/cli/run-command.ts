import { parseArgs } from 'node:util'
import type { McpDcrError } from '../errors.js'
import { splitKeys } from '../security/keys.js'
import { migrate, type Migration } from './migrate.js'
import { reseal, type Resealing } from './reseal.js'
import type { Terminal } from './terminal.js'

const USAGE = `Usage: mcp-dcr migrate --from <store> --to <store> [--overwrite]
       mcp-dcr reseal --store <store> [--delete-unopened]

migrate copies the registrations and tokens of one store into another. Stop the gateway first. What was copied
already is left alone, so that a copy that was cut off goes on when it is run again.
  --overwrite         replaces records of the other store that differ; without it they are counted and kept

reseal seals anew, with the first key of OAUTH_ENCRYPTION_KEY, what the others have sealed. A shared store may
be in use meanwhile.
  --delete-unopened   deletes what none of the keys opens; without it that is counted and kept. Where nothing
                      opens at all, it is the key that is wrong: then nothing is deleted

A store is
  data/store.json                          the path of a JSON file
  postgres://host/database?schema=oauth    a Postgres; without a schema, the first one of its search_path
  redis://host:6379/0?prefix=mcp-dcr:      a Redis; without a prefix, mcp-dcr:

It ends with 0 where all was done, with 1 where it failed, found nothing or something was kept, with 2 where it was called
wrongly.`

const OK = 0
const FAILED = 1
const MISUSED = 2

/**
 * Runs the command line tool. It prints no secret: no URL, nothing of a record but its key.
 *
 * @param args without the program's own name
 * @param env where `OAUTH_ENCRYPTION_KEY` is
 * @returns the exit code
 */
export async function runCommand(
  args: readonly string[],
  terminal: Terminal,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  try {
    const command = parse(args)
    if (command === 'help') {
      terminal.log(USAGE)
      return OK
    }
    const isDone =
      command.name === 'migrate'
        ? await migrate(command, terminal)
        : await reseal(command, splitKeys(env['OAUTH_ENCRYPTION_KEY']), terminal)
    return isDone ? OK : FAILED
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

type Command = ({ name: 'migrate' } & Migration) | ({ name: 'reseal' } & Resealing)

function parse(args: readonly string[]): Command | 'help' {
  const { values, positionals } = parseOptions(args)
  if (values.help) return 'help'
  const [name, ...more] = positionals
  if (name === undefined) throw new Misuse('A command is missing.')
  if (name !== 'migrate' && name !== 'reseal')
    throw new Misuse(`There is no command ${JSON.stringify(name)}.`)
  const { from, to, overwrite, store, 'delete-unopened': deleteUnopened } = values
  if (name === 'reseal') {
    if (more.length > 0) throw new Misuse('Name the store with --store.')
    if (!store) throw new Misuse('--store is missing.')
    return { name, store, deleteUnopened }
  }
  if (more.length > 0) throw new Misuse('Name the stores with --from and --to.')
  if (!from || !to) throw new Misuse(`--${from ? 'to' : 'from'} is missing.`)
  if (from === to) throw new Misuse('--from and --to are the same store.')
  return { name, from, to, overwrite }
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
        store: { type: 'string' },
        'delete-unopened': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new Misuse((error as Error).message)
  }
}
