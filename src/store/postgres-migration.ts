import { McpDcrError } from '../errors.js'
import { isMissing, isRefusal, postgresError, type Run } from './postgres-run.js'
import { columnNames, definitionOf, KEY_START, TABLES, type Table } from './postgres-tables.js'

/**
 * Makes the tables where they are missing, and nothing where they are there.
 *
 * @param nameOf a table's name as it stands in a statement
 * @throws McpDcrError `store_unavailable`
 */
export async function makeTables(
  run: Run,
  schema: string | undefined,
  nameOf: (table: Table) => string,
): Promise<void> {
  try {
    if (await areThere(run, nameOf)) return
    await run(migration(schema, nameOf))
    await run(probe(nameOf))
  } catch (cause) {
    if (!isRefusal(cause)) throw postgresError('read', cause)
    throw new McpDcrError(
      'store_unavailable',
      `The tables of the store cannot be used; Postgres says: ${(cause as Error).message}`,
      {
        cause,
        fix: 'Call migrate() with a role that may create them, and grant this one select, insert, update and delete on them. If a table of that name is another program’s, name a schema of their own.',
      },
    )
  }
}

async function areThere(run: Run, nameOf: (table: Table) => string): Promise<boolean> {
  try {
    await run(probe(nameOf))
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

/** Fails where a table or a column is missing. It needs no right to create anything. */
function probe(nameOf: (table: Table) => string): string {
  const parts = TABLES.map(
    (table) => `(select ${columnNames(table).join(', ')} from ${nameOf(table)} limit 0) ${table.name}`,
  )
  return `select from ${parts.join(', ')}`
}

/** One statement and so one transaction, by one instance at a time. */
function migration(schema: string | undefined, nameOf: (table: Table) => string): string {
  return `do $migration$ begin
    perform pg_advisory_xact_lock(hashtext('mcp-dcr migration'));
    ${schema === undefined ? '' : schemaDefinition(schema)}
    ${TABLES.map((table) => tableDefinition(table, nameOf(table))).join('')}
  end $migration$`
}

/** "if not exists" alone would ask for the right to create it, also where it exists. */
function schemaDefinition(schema: string): string {
  return `if to_regnamespace('"${schema}"') is null then create schema "${schema}"; end if;`
}

function tableDefinition(table: Table, name: string): string {
  const listed = [...(table.isForAnyCollection ? ['left(collection, 255)'] : []), KEY_START, 'id']
  return `
    create table if not exists ${name} (${definitionOf(table)});
    create index if not exists ${table.name}_key on ${name} (${listed.join(', ')});
    create index if not exists ${table.name}_expiry on ${name} (record_expires_at)
      where record_expires_at is not null;`
}
