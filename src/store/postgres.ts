import { McpDcrError } from '../errors.js'
import type { CredentialStore, StoredRecord } from './contract.js'
import { deepFreeze, newVersion } from './entry.js'
import { decodeKey, encodeKey } from './key-text.js'
import { makeTables } from './postgres-migration.js'
import {
  createRun,
  isMissing,
  postgresError,
  type PostgresPool,
  type PostgresResult,
} from './postgres-run.js'
import {
  columnsOf,
  dataOf,
  idOf,
  KEY_START,
  KEY_START_LENGTH,
  tableOf,
  TABLES,
  type Table,
} from './postgres-tables.js'
import { unlessAltered } from './stored-text.js'

export type { PostgresClient, PostgresPool } from './postgres-run.js'

export interface PostgresStoreOptions {
  /** A `Pool` of the package pg. It stays yours: closing the store does not end it. */
  pool: PostgresPool
  /** The schema of the tables, of letters, digits and underscores; made if it is missing. Defaults to the first one of the connection's `search_path`, mostly `public`. */
  schema?: string
  /** How long one call may take, in milliseconds. Defaults to 5000. */
  timeout?: number
  /** The current time in epoch milliseconds. Defaults to `Date.now`. */
  clock?: () => number
}

export interface PostgresStore extends CredentialStore {
  /**
   * Makes the tables where they are missing. The store does it at its first use; call it where another role may do so.
   * Safe to call at any time, from every instance at once.
   *
   * @throws McpDcrError `store_unavailable`
   */
  migrate(): Promise<void>
}

const PAGE = 500
const SWEEP_EVERY_MS = 600_000

/**
 * A store in Postgres 12 or later, for any number of processes. Registrations and tokens have tables of these names,
 * with their members readable beside the sealed ones; everything else is in `mcp_dcr_records`.
 *
 * @throws McpDcrError `invalid_options`
 */
export function postgresStore(options: PostgresStoreOptions): PostgresStore {
  const { pool, schema, timeout = 5000, clock = Date.now } = checkOptions(options)
  const run = createRun(pool, timeout)
  const nameOf = ({ name }: Table): string => (schema === undefined ? name : `"${schema}".${name}`)
  let migrated: Promise<void> | undefined
  let sweepAt = -Infinity

  function migrate(): Promise<void> {
    migrated ??= makeTables(run, schema, nameOf).catch((error: unknown) => {
      migrated = undefined
      throw error
    })
    return migrated
  }

  async function statement(at: 'read' | 'write', text: string, values: unknown[]): Promise<PostgresResult> {
    await migrate()
    try {
      return await run(text, values)
    } catch (error) {
      // Dropped meanwhile: the next call makes them anew.
      if (isMissing(error)) migrated = undefined
      throw postgresError(at, error)
    }
  }

  /** What has expired is not seen any more, but takes room. Nobody waits for it. */
  async function sweep(): Promise<void> {
    if (clock() < sweepAt) return
    sweepAt = clock() + SWEEP_EVERY_MS
    for (const table of TABLES)
      await run(`delete from ${nameOf(table)} where record_expires_at <= $1`, [clock()])
  }

  return {
    shared: true,
    migrate,

    async get(collection, key) {
      const table = tableOf(collection)
      const { rows } = await statement(
        'read',
        `${select(table, nameOf(table))} where id = $1 and ${live('$2')}`,
        [idOf(collection, key), clock()],
      )
      return rows[0] && recordOf(table, rows[0])
    },

    async compareAndSet(collection, key, expected, data, { expiresAt } = {}) {
      const table = tableOf(collection)
      const columns: [string, unknown][] = [
        ['version', newVersion()],
        ['record_expires_at', expiresAt ?? null],
        ...columnsOf(table, { collection, key, data }),
      ]
      const text = expected === undefined ? insert(nameOf(table), columns) : update(nameOf(table), columns)
      const { rowCount } = await statement('write', text, [
        idOf(collection, key),
        clock(),
        ...(expected === undefined ? [] : [expected]),
        ...columns.map(([, value]) => value),
      ])
      // Tried again at a later write, where it fails.
      void sweep().catch(() => undefined)
      return rowCount === 1
    },

    async delete(collection, key, expected) {
      const table = tableOf(collection)
      const { rowCount } = await statement(
        'write',
        `delete from ${nameOf(table)} where id = $1 and ${live('$2')} and ($3::text is null or version = $3)`,
        [idOf(collection, key), clock(), expected ?? null],
      )
      return rowCount === 1
    },

    async *list(collection, prefix = '') {
      const table = tableOf(collection)
      const text = page(table, nameOf(table))
      const start = encodeKey(prefix)
      const matches = [like(start), like([...start].slice(0, KEY_START_LENGTH).join(''))]
      const ofCollection = table.isForAnyCollection ? [encodeKey(collection)] : []
      for (let last = ['', '']; ;) {
        const { rows } = await statement('read', text, [...matches, ...last, clock(), PAGE, ...ofCollection])
        for (const row of rows) {
          const record = unlessAltered(() => ({
            key: decodeKey(row['key'] as string),
            ...recordOf(table, row),
          }))
          if (record !== undefined) yield record
        }
        const end = rows.at(-1)
        if (end === undefined || rows.length < PAGE) return
        last = [end['key_start'] as string, end['id'] as string]
      }
    },
  }
}

function checkOptions(options: PostgresStoreOptions): PostgresStoreOptions {
  const { pool, schema } = options
  if (typeof (pool as Partial<PostgresPool> | undefined)?.connect !== 'function') {
    throw new McpDcrError('invalid_options', 'postgresStore(): `pool` is no Pool of the package pg.', {
      fix: "import { Pool } from 'pg', and pass { pool: new Pool({ connectionString }) }.",
    })
  }
  if (schema !== undefined && !/^[a-z_]\w{0,62}$/i.test(schema)) {
    throw new McpDcrError('invalid_options', `postgresStore(): the schema "${schema}" cannot be used.`, {
      fix: 'Name one of letters, digits and underscores, 63 at most.',
    })
  }
  return options
}

function select(table: Table, name: string): string {
  const sealed = table.sealed.map((column) => `${column.name}, `).join('')
  return `select id, key, ${KEY_START} as key_start, version, ${sealed}data::text as data from ${name}`
}

function recordOf(table: Table, row: Record<string, unknown>): StoredRecord {
  return { data: deepFreeze(dataOf(table, row)), version: row['version'] as string }
}

/**
 * $1 and $2 are what the key, and the start of it that is indexed, have to be like; $3 and $4 the start and the id
 * after which the page begins; $5 the time, $6 the most rows; $7 the collection, where the table is for any.
 */
function page(table: Table, name: string): string {
  const ofCollection = table.isForAnyCollection
    ? `left(collection, 255) = left($7, 255) and collection = $7 and `
    : ''
  return `${select(table, name)} where ${ofCollection}key like $1 and ${KEY_START} like $2
    and (${KEY_START}, id) > ($3, $4) and ${live('$5')} order by ${KEY_START}, id limit $6`
}

/** $1 is the id, $2 the time. What has expired gives way. */
function insert(name: string, columns: readonly [string, unknown][]): string {
  const names = columns.map(([column]) => column)
  return `insert into ${name} as old (id, ${names.join(', ')}) values ($1, ${names.map((_, n) => `$${n + 3}`).join(', ')})
    on conflict (id) do update set ${names.map((column) => `${column} = excluded.${column}`).join(', ')}
    where old.record_expires_at <= $2`
}

/** $1 is the id, $2 the time, $3 the version that is expected. */
function update(name: string, columns: readonly [string, unknown][]): string {
  const assignments = columns.map(([column], n) => `${column} = $${n + 4}`)
  return `update ${name} set ${assignments.join(', ')} where id = $1 and ${live('$2')} and version = $3`
}

function live(now: string): string {
  return `(record_expires_at is null or record_expires_at > ${now})`
}

function like(prefix: string): string {
  return `${prefix.replace(/[\\%_]/g, '\\$&')}%`
}
