import { createHash } from 'node:crypto'
import type { Collection, RecordData } from './contract.js'
import { encodeKey } from './key-text.js'
import { SECRET_FIELDS } from './records.js'
import { parseData } from './stored-text.js'

/** A table, and what of a record stands in which of its columns. */
export interface Table {
  readonly name: string
  /** Whether the collection is a column too. */
  readonly isForAnyCollection: boolean
  /** Sealed members, which stand in a column of their own in place of the data. */
  readonly sealed: readonly SealedColumn[]
  /** Copies for people and their queries; nothing reads them back. */
  readonly readable: readonly Column[]
}

interface Column {
  readonly name: string
  readonly type: string
  readonly of: (record: Addressed) => string | null
}

interface SealedColumn {
  readonly name: string
  readonly member: string
}

interface Addressed {
  readonly collection: string
  readonly key: string
  readonly data: RecordData
}

/** How much of a key an index holds: it cannot hold all of a long one. */
export const KEY_START_LENGTH = 255
export const KEY_START = `left(key, ${KEY_START_LENGTH})`

// Compared by code points, whatever the database's own order is.
const keyColumn: Column = {
  name: 'key',
  type: 'text collate "C" not null',
  of: ({ key }) => encodeKey(key),
}
const collectionColumn: Column = {
  name: 'collection',
  type: 'text collate "C" not null',
  of: ({ collection }) => encodeKey(collection),
}

const PRODUCT_TABLES: Readonly<Record<Collection, Table>> = {
  oauth_client_registrations: {
    name: 'oauth_client_registrations',
    isForAnyCollection: false,
    sealed: sealedColumns('oauth_client_registrations'),
    readable: [
      text('server', (data) => data['server']),
      text('server_url', (data) => data['serverUrl']),
      text('issuer', (data) => data['issuer']),
      text('redirect_uri', (data) => data['redirectUri']),
      text('status', (data) => data['status']),
      text('client_id', (data) => data['clientId']),
      text('scope', (data) => data['scope']),
      time('created_at', (data) => data['createdAt']),
      time('client_secret_expires_at', (data) => Number(data['clientSecretExpiresAt'] || NaN) * 1000),
    ],
  },
  oauth_tokens: {
    name: 'oauth_tokens',
    isForAnyCollection: false,
    sealed: sealedColumns('oauth_tokens'),
    readable: [
      text('user_id', (data) => data['user']),
      text('server', (data) => data['server']),
      text('server_url', (data) => data['serverUrl']),
      text('issuer', (data) => (data['authorizationServer'] as { issuer?: unknown } | undefined)?.issuer),
      text('status', (data) => data['status']),
      text('client_id', (data) => data['clientId']),
      text('scope', (data) => data['scope']),
      time('expires_at', (data) => data['expiresAt']),
      time('obtained_at', (data) => data['obtainedAt']),
      time('connected_at', (data) => data['connectedAt']),
    ],
  },
}

/** Leases, and whatever else is no collection of the product's documents. */
const OTHER_TABLE: Table = {
  name: 'mcp_dcr_records',
  isForAnyCollection: true,
  sealed: [],
  readable: [],
}

export const TABLES: readonly Table[] = [...Object.values(PRODUCT_TABLES), OTHER_TABLE]

export function tableOf(collection: string): Table {
  return Object.hasOwn(PRODUCT_TABLES, collection) ? PRODUCT_TABLES[collection as Collection] : OTHER_TABLE
}

/** The primary key, since an index cannot hold every key: it may have two long URLs in it. */
export function idOf(collection: string, key: string): string {
  return createHash('sha256')
    .update(JSON.stringify([collection, key]))
    .digest('base64url')
}

/** What the columns after id, version and record_expires_at hold of a record, by the name of the column. */
export function columnsOf(table: Table, record: Addressed): [string, string | null][] {
  const data: Record<string, unknown> = { ...record.data }
  const columns = [...identityOf(table), ...table.readable].map(({ name, of }): [string, string | null] => [
    name,
    of(record),
  ])
  for (const { name, member } of table.sealed) {
    const value = sealedText(data[member])
    // Null in its place, so that the members keep their order.
    if (value !== null) data[member] = null
    columns.push([name, value])
  }
  return [...columns, ['data', JSON.stringify(data)]]
}

/**
 * The content of a row that has `data` as text, and the sealed columns.
 *
 * @throws McpDcrError `store_corrupt`
 */
export function dataOf(table: Table, row: Readonly<Record<string, unknown>>): RecordData {
  const data: Record<string, unknown> = { ...parseData(row['data'] as string) }
  for (const { name, member } of table.sealed) if (row[name] !== null) data[member] = row[name]
  return data
}

/** Of json, not jsonb: that refuses NUL and lone surrogates. */
export function definitionOf(table: Table): string {
  return [
    'id text collate "C" primary key',
    ...identityOf(table).map(({ name, type }) => `${name} ${type}`),
    'version text not null',
    'record_expires_at double precision',
    ...table.readable.map(({ name, type }) => `${name} ${type}`),
    ...table.sealed.map(({ name }) => `${name} text`),
    'data json not null',
  ].join(', ')
}

export function columnNames(table: Table): string[] {
  const named = [...identityOf(table), ...table.readable, ...table.sealed].map(({ name }) => name)
  return ['id', 'version', 'record_expires_at', ...named, 'data']
}

function identityOf({ isForAnyCollection }: Table): Column[] {
  return isForAnyCollection ? [collectionColumn, keyColumn] : [keyColumn]
}

function text(name: string, of: (data: RecordData) => unknown): Column {
  return {
    name,
    type: 'text',
    of({ data }) {
      const value = of(data)
      // Control characters and lone surrogates: there are some that Postgres cannot hold.
      return typeof value === 'string' ? value.replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd') : null
    },
  }
}

/** @param of gives epoch milliseconds */
function time(name: string, of: (data: RecordData) => unknown): Column {
  return {
    name,
    type: 'timestamptz',
    of({ data }) {
      const value = of(data)
      const date = new Date(typeof value === 'number' ? value : NaN)
      const year = date.getUTCFullYear()
      return year >= 1 && year <= 9999 ? date.toISOString() : null
    },
  }
}

/** A sealed value is plain ASCII; anything else stays in the data, which can hold it. */
function sealedText(value: unknown): string | null {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) ? value : null
}

function sealedColumns(collection: Collection): SealedColumn[] {
  return SECRET_FIELDS[collection].map((member) => ({
    name: member.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    member,
  }))
}
