import { createHash } from 'node:crypto'
import { McpDcrError } from '../errors.js'
import { within } from '../within.js'
import { backendError, noAnswer } from './backend-error.js'
import type { CredentialStore, RecordData, StoredRecord } from './contract.js'
import { deepFreeze, newVersion } from './entry.js'
import { decodeKey, encodeKey } from './key-text.js'
import { changeScript } from './redis-script.js'
import { altered, parseData, unlessAltered } from './stored-text.js'

/** What is used of a client, or a cluster, of the package redis. */
export interface RedisClient {
  on(event: 'error', listener: (error: Error) => void): unknown
  listenerCount(event: 'error'): number
  withCommandOptions(options: { timeout: number; typeMapping: Record<never, never> }): RedisCommands
}

/** The commands that are used. */
export interface RedisCommands {
  hGet(key: string, field: string): Promise<unknown>
  hmGet(key: string, fields: string[]): Promise<unknown>
  zRangeByLex(
    key: string,
    min: string | Buffer,
    max: string | Buffer,
    options: { LIMIT: { offset: number; count: number } },
  ): Promise<unknown>
  evalSha(sha1: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
}

export interface RedisStoreOptions {
  /** A connected client of the package redis, by `createClient` or `createCluster`. It stays yours: closing the store does not close it. */
  client: RedisClient
  /** What the store's keys begin with; without braces. Defaults to `mcp-dcr:`. */
  prefix?: string
  /** How long one call may take, in milliseconds. Defaults to 5000. */
  timeout?: number
  /** The current time in epoch milliseconds. Defaults to `Date.now`. */
  clock?: () => number
}

/**
 * Into how many parts a collection is divided. A part is a hash of records, a sorted set of their keys and one of
 * their expiries, in one slot of a cluster: so a change and its index are one step, a list by prefix costs a few
 * calls, and a collection is spread over the cluster. A SCAN would read all keys of the database for each list; one
 * key a record would keep the index in another slot, and so apart from the record where a process dies in between.
 *
 * Stored records depend on this number.
 */
const PARTS = 16
const PAGE = 200

/**
 * A store in Redis or Valkey, alone or as a cluster, for any number of processes. What it keeps is as durable as
 * that server: see `appendonly` and `maxmemory-policy` of its configuration.
 *
 * @throws McpDcrError `invalid_options`
 */
export function redisStore(options: RedisStoreOptions): CredentialStore {
  const { client, prefix = 'mcp-dcr:', timeout = 5000, clock = Date.now } = checkOptions(options)
  // Without a listener, a lost connection would end the process; the client connects again by itself.
  if (client.listenerCount('error') === 0) client.on('error', () => undefined)
  // A command that still waits to be sent after that time is not sent any more.
  const commands = client.withCommandOptions({ timeout, typeMapping: {} })

  async function call<T>(at: 'read' | 'write', command: () => Promise<unknown>): Promise<T> {
    try {
      return (await within(timeout, command, () => noAnswer(timeout))) as T
    } catch (error) {
      throw backendError('Redis', at === 'write' && isRefusal(error) ? 'refused write' : at, error)
    }
  }

  /** The braces make a part one slot; the number in front, so that they are never empty. */
  function keyOf(part: number, collection: string, kind: 'records' | 'index' | 'expiries'): string {
    return `${prefix}{${part}:${encodeKey(collection)}}:${kind}`
  }

  async function change(
    collection: string,
    key: string,
    expectation: ['is' | 'absent' | 'any', string],
    record: string,
    expiresAt?: number,
  ): Promise<boolean> {
    const field = encodeKey(key)
    const part = partOf(field)
    const script = {
      keys: (['records', 'index', 'expiries'] as const).map((kind) => keyOf(part, collection, kind)),
      arguments: [field, ...expectation, record, String(expiresAt ?? '-'), String(clock())],
    }
    const changed = await call<number>('write', async () => {
      try {
        return await commands.evalSha(changeScript.sha1, script)
      } catch (error) {
        if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
        return commands.eval(changeScript.source, script)
      }
    })
    return changed === 1
  }

  /** The keys of a part in order, after `last`. */
  async function page(
    part: number,
    collection: string,
    start: string,
    last: string | undefined,
  ): Promise<string[]> {
    const min = last === undefined ? `[${start}` : `(${last}`
    // No UTF-8 text has this byte.
    const max = Buffer.concat([Buffer.from(`(${start}`), Buffer.of(0xff)])
    const limit = { LIMIT: { offset: 0, count: PAGE } }
    return call('read', () => commands.zRangeByLex(keyOf(part, collection, 'index'), min, max, limit))
  }

  async function* listPart(
    part: number,
    collection: string,
    first: readonly string[],
    start: string,
  ): AsyncGenerator<StoredRecord & { key: string }> {
    for (let fields = first; fields.length > 0;) {
      const name = keyOf(part, collection, 'records')
      const values = await call<(string | null)[]>('read', () => commands.hmGet(name, [...fields]))
      for (const [n, field] of fields.entries()) {
        const record = unlessAltered(() => parseRecord(values[n], clock()))
        const key = unlessAltered(() => decodeKey(field))
        if (record !== undefined && key !== undefined) yield { key, ...record }
      }
      fields = fields.length < PAGE ? [] : await page(part, collection, start, fields.at(-1))
    }
  }

  return {
    shared: true,

    async get(collection, key) {
      const field = encodeKey(key)
      const name = keyOf(partOf(field), collection, 'records')
      return parseRecord(await call<string | null>('read', () => commands.hGet(name, field)), clock())
    },

    async compareAndSet(collection, key, expected, data, { expiresAt } = {}) {
      const record = renderRecord(newVersion(), expiresAt, data)
      return change(
        collection,
        key,
        expected === undefined ? ['absent', ''] : ['is', expected],
        record,
        expiresAt,
      )
    },

    async delete(collection, key, expected) {
      return change(collection, key, expected === undefined ? ['any', ''] : ['is', expected], '')
    },

    async *list(collection, keyPrefix = '') {
      const start = encodeKey(keyPrefix)
      const parts = [...Array(PARTS).keys()]
      const firstPages = await Promise.all(parts.map((part) => page(part, collection, start, undefined)))
      for (const [part, first] of firstPages.entries()) yield* listPart(part, collection, first, start)
    },
  }
}

function checkOptions(options: RedisStoreOptions): RedisStoreOptions {
  const { client, prefix } = options
  if (typeof (client as Partial<RedisClient> | undefined)?.withCommandOptions !== 'function') {
    throw new McpDcrError(
      'invalid_options',
      'redisStore(): `client` is no client of the package redis, 5 or later.',
      {
        fix: "import { createClient } from 'redis', and pass { client: await createClient({ url }).connect() }.",
      },
    )
  }
  if (prefix !== undefined && /[{}]/.test(prefix)) {
    throw new McpDcrError('invalid_options', `redisStore(): the prefix "${prefix}" has a brace in it.`, {
      fix: 'Choose one without { and }: a cluster finds the place of a key by them.',
    })
  }
  return options
}

function partOf(field: string): number {
  return createHash('sha256').update(field).digest().readUInt8(0) % PARTS
}

/** `<version> <expiry or -> <json>`: the script needs the version without reading the JSON. */
function renderRecord(version: string, expiresAt: number | undefined, data: RecordData): string {
  return `${version} ${expiresAt ?? '-'} ${JSON.stringify(data)}`
}

/** @throws McpDcrError `store_corrupt` */
function parseRecord(text: string | null | undefined, now: number): StoredRecord | undefined {
  if (text === null || text === undefined) return undefined
  const [, version, expiresAt, json] = /^(\S+) (\S+) (.*)$/s.exec(text) ?? []
  if (version === undefined || json === undefined) throw altered()
  if (Number(expiresAt) <= now) return undefined
  return { version, data: deepFreeze(parseData(json)) }
}

/** What a Redis answers that is there, and does not take the write: full, read-only, without its disk or the right. */
function isRefusal(error: unknown): boolean {
  return /^(?:OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|WRONGTYPE|ERR)\b/.test((error as Error).message)
}
