import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Pool } from 'pg'
import { McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import type { CredentialStore } from '../store/contract.js'
import { openJsonFileStore } from '../store/json-file.js'
import { createRun, postgresError } from '../store/postgres-run.js'
import { TABLES } from '../store/postgres-tables.js'
import { postgresStore } from '../store/postgres.js'
import { redisStore } from '../store/redis.js'

/** A store, and what ends it together with its connections. */
interface OpenedStore {
  readonly store: CredentialStore
  close(): Promise<void>
}

type Kind = 'file' | 'postgres' | 'redis'

const KINDS: Readonly<Record<string, Kind>> = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'redis:': 'redis',
  'rediss:': 'redis',
}

/**
 * Opens a store by its path or URL.
 *
 * @param role a source has to be there; a target is made
 * @throws McpDcrError where there is none, or it cannot be opened
 */
export async function openNamedStore(
  name: string,
  role: 'source' | 'target',
  warnings: { error(line: string): void },
): Promise<OpenedStore> {
  switch (kindOf(name)) {
    case 'postgres':
      return openPostgres(name, role)
    case 'redis':
      return openRedis(name)
    case 'file':
      return openFile(name, role, warnings)
  }
}

/** A store's name for people: without the credentials of its URL. */
export function describeStore(name: string): string {
  const kind = kindOf(name)
  if (kind === 'file') return resolve(name)
  const { host, pathname } = parseUrl(name)
  return `${kind === 'postgres' ? 'Postgres' : 'Redis'} at ${host}${pathname}`
}

/** The key file that belongs to a JSON file store, where there is one. */
export function keyFileOf(name: string): string | undefined {
  const path = `${resolve(name)}.key`
  return kindOf(name) === 'file' && existsSync(path) ? path : undefined
}

function kindOf(name: string): Kind {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) return 'file'
  const kind = KINDS[parseUrl(name).protocol]
  if (kind !== undefined) return kind
  throw new McpDcrError('invalid_options', 'A store’s URL has to begin with postgres:// or redis://.', {
    fix: 'A JSON file is named by its path, without file://.',
  })
}

function parseUrl(name: string): URL {
  // Not URL's own error: it has the URL in it, and with that the password.
  if (!URL.canParse(name)) throw new McpDcrError('invalid_options', 'The URL of a store is not valid.')
  return new URL(name)
}

/** The URL without a parameter that is ours, and its value. */
function takeParameter(name: string, parameter: string): [url: string, value: string | undefined] {
  const url = parseUrl(name)
  const value = url.searchParams.get(parameter) ?? undefined
  url.searchParams.delete(parameter)
  return [url.href, value]
}

async function openFile(
  path: string,
  role: 'source' | 'target',
  warnings: { error(line: string): void },
): Promise<OpenedStore> {
  if (role === 'source' && !existsSync(path)) {
    throw new McpDcrError('store_unavailable', `There is no store at ${resolve(path)}.`, {
      fix: 'Name the file of the gateway’s store option; without one it is .mcp-dcr/store.json in its working directory.',
    })
  }
  const warn = (message: string): void => warnings.error(`mcp-dcr: ${message}`)
  const nothing = (): void => undefined
  const logger: Logger = { debug: nothing, info: nothing, warn, error: warn }
  const store = openJsonFileStore({ path, clock: Date.now, logger })
  return { store, close: () => store.close() }
}

async function openPostgres(name: string, role: 'source' | 'target'): Promise<OpenedStore> {
  const { default: pg } = await driver('pg', () => import('pg'))
  const [connectionString, schema] = takeParameter(name, 'schema')
  const pool = new pg.Pool({ connectionString })
  try {
    const store = postgresStore({ pool, ...(schema !== undefined && { schema }) })
    if (role === 'source') await assertTables(pool, schema, describeStore(name))
    return { store, close: () => pool.end() }
  } catch (error) {
    await pool.end()
    throw error
  }
}

/** Milliseconds. */
const TIMEOUT = 5000

/** The store would make what is missing: in the wrong database, say. */
async function assertTables(pool: Pool, schema: string | undefined, where: string): Promise<void> {
  const names = TABLES.map((table) => (schema === undefined ? table.name : `"${schema}".${table.name}`))
  const { rows } = await createRun(pool, TIMEOUT)(
    'select name from unnest($1::text[]) name where to_regclass(name) is null',
    [names],
  ).catch((error: unknown) => {
    throw postgresError('read', error)
  })
  if (rows.length === 0) return
  throw new McpDcrError(
    'store_unavailable',
    `There is no store in ${where}: it has no table ${String(rows[0]?.['name'])}.`,
    {
      fix: 'Name the database of the gateway, and its schema where it has one of its own: postgres://host/database?schema=oauth',
    },
  )
}

async function openRedis(name: string): Promise<OpenedStore> {
  const { createClient } = await driver('redis', () => import('redis'))
  const [url, prefix] = takeParameter(name, 'prefix')
  const client = createClient({ url, socket: { reconnectStrategy: false } })
  const store = redisStore({ client, ...(prefix !== undefined && { prefix }) })
  try {
    await client.connect()
  } catch (cause) {
    throw new McpDcrError('store_unavailable', `Redis cannot be reached: ${(cause as Error).message}`, {
      cause,
    })
  }
  return { store, close: async () => (client.isOpen ? client.close() : undefined) }
}

async function driver<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    throw new McpDcrError('invalid_options', `The package ${name} cannot be loaded.`, {
      cause,
      fix: `Install it beside mcp-dcr: npm install ${name}`,
    })
  }
}
