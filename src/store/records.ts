import { isDeepStrictEqual } from 'node:util'
import { BoundedMap } from '../bounded-map.js'
import { McpDcrError } from '../errors.js'
import { forEachOf } from '../for-each.js'
import type { Connection, Logger, Registration } from '../model.js'
import { keyMismatch, type Sealer } from '../security/seal.js'
import type { Collection, CredentialStore, RecordData, StoredRecord } from './contract.js'
import { deepFreeze } from './entry.js'
import { pauseByTimer, type Pause } from './pause.js'

/** A value and the version by which a later change recognises it. */
export interface Versioned<T> {
  /** Frozen. The same object for the same version, as long as it is kept in memory. */
  readonly value: T
  readonly version: string
}

/** Where the record does not open: its value has no secrets then, and this is why. */
export type MaybeOpened<T> = Versioned<T> & { readonly unopened?: McpDcrError }

/** One collection, its secrets in plain text. Errors are the store's and the sealer's. */
export interface RecordCollection<T> {
  get(key: string): Promise<Versioned<T> | undefined>
  /**
   * As {@link get}, for the way of every request: what another instance has changed shows within a second, and
   * while the store cannot be reached, what this one has read last is still known.
   *
   * @param isGood whether a value that may be out of date will do; otherwise the store is asked
   */
  recall(key: string, isGood: (value: T) => boolean): Promise<Versioned<T> | undefined>
  /** What {@link recall} has found within that second; undefined where it has to be asked. */
  recent(key: string): Versioned<T> | undefined
  /**
   * Writes only if what is stored is still what is `held`, sealed anew or not: whoever holds a record across a network
   * call need not keep others from sealing it anew.
   *
   * @param held undefined: the record must be absent
   * @returns false when it lost
   */
  save(key: string, held: MaybeOpened<T> | undefined, value: T): Promise<boolean>
  /**
   * As {@link save}, for what cannot be had again, such as a rotated token: where the store fails, this rejects,
   * and the value is held in memory, taken for the stored one, and saved when the record is next asked for, or a moment
   * later in the background, until it succeeds: another instance would use what has been replaced.
   *
   * @param onSaved called once the value is stored, now or later
   */
  saveOrKeep(key: string, held: Versioned<T>, value: T, onSaved?: () => void): Promise<boolean>
  /**
   * True for the one caller that removed it.
   *
   * @param held as for {@link save}. Defaults to whatever is stored
   */
  delete(key: string, held?: MaybeOpened<T>): Promise<boolean>
  /** As {@link get}, but a record that does not open comes without its secrets, and with the error. */
  getOrBare(key: string): Promise<MaybeOpened<T> | undefined>
  /**
   * A record that does not open is left out; of each, the log tells once.
   *
   * @param prefix what the keys begin with. Defaults to all
   */
  list(prefix?: string): AsyncIterable<Versioned<T> & { readonly key: string }>
  /** As {@link list}, but without opening anything: all records, as they are stored, without their secrets. */
  listBare(prefix?: string): AsyncIterable<Versioned<Bare<T>> & { readonly key: string }>
  /** Tries once more to save what could not be saved, and then no more in the background. */
  close(): Promise<void>
  /**
   * Opens every record, and seals anew, with the newest key, what an earlier one has sealed. What has changed
   * meanwhile is sealed with it already. What does not open is left as it is.
   */
  reseal(): Promise<ResealOutcome>
}

/** A value without what is sealed at rest. */
export type Bare<T> = Omit<T, (typeof SECRET_FIELDS)[Collection][number]>

/** What came of sealing records anew. */
export interface ResealReport {
  /** How many records are sealed with the newest key now that were not. */
  readonly resealed: number
  /** How many records cannot be opened, by the id of the key that is not held. */
  readonly unopened: Readonly<Record<string, number>>
  /** How many records do not open although their key is held: they were altered. */
  readonly damaged: number
}

/** A report on one collection, and what it rests on. */
export interface ResealOutcome extends ResealReport {
  /** How many records there are. */
  readonly records: number
  /** How many of them hold something sealed, and open. */
  readonly opened: number
  /** Deletes what did not open, unless it has changed since. */
  deleteUnopened(): Promise<void>
}

/** A registration, and where it is kept. */
export type FoundRegistration = Versioned<Registration> & { readonly key: string }

export interface Records {
  readonly registrations: RecordCollection<Registration>
  readonly connections: RecordCollection<Connection>
}

/** What is sealed at rest; everything else stays readable. */
export const SECRET_FIELDS = {
  oauth_client_registrations: ['clientSecret', 'registrationAccessToken'],
  oauth_tokens: ['accessToken', 'refreshToken'],
} as const satisfies Readonly<Record<Collection, readonly string[]>>

/** Of each collection; a connection takes about 2 KiB. */
const MAX_OPENED = 20_000
const MAX_KEPT = 10_000

/** For how long a shared store is not asked again on the way of a request, in milliseconds. */
const RECENT = 1000
/** Between two tries to save what could not be saved, in milliseconds. */
const FIRST_RETRY = 100
const LAST_RETRY = 1000
/** How many records are sealed anew at the same time: enough for a file's writes to be shared by many. */
const RESEALED_AT_ONCE = 200

export interface RecordsOptions {
  /** The current time in epoch milliseconds. Defaults to `Date.now`. */
  readonly clock?: () => number
  /** Waits between two tries to save what could not be saved. Defaults to a timer. */
  readonly pause?: Pause
  /** Told of records that a list leaves out. Defaults to none. */
  readonly logger?: Pick<Logger, 'error'>
}

export function createRecords(
  store: CredentialStore,
  sealer: Sealer,
  { clock = Date.now, pause = pauseByTimer, logger }: RecordsOptions = {},
): Records {
  const parts = { store, sealer, clock, pause, logger }
  return {
    registrations: createCollection<Registration>(parts, 'oauth_client_registrations'),
    connections: createCollection<Connection>(parts, 'oauth_tokens'),
  }
}

interface Parts {
  readonly store: CredentialStore
  readonly sealer: Sealer
  readonly clock: () => number
  readonly pause: Pause
  readonly logger: Pick<Logger, 'error'> | undefined
}

interface OpenedRecord<T> {
  readonly version: string
  readonly value: Promise<T>
  /** Epoch milliseconds. */
  readonly readAt: number
  /** Once it is open. */
  result?: Versioned<T>
}

interface KeptValue<T> {
  readonly value: T
  /** What it replaces. */
  readonly held: Versioned<T>
  readonly onSaved: () => void
}

function createCollection<T extends object>(
  { store, sealer, clock, pause, logger }: Parts,
  collection: Collection,
): RecordCollection<T> {
  const secretFields: readonly string[] = SECRET_FIELDS[collection]
  // Promises, so that concurrent readers of one version share the opening and the object.
  const opened = new BoundedMap<string, OpenedRecord<T>>(MAX_OPENED)
  /** What could not be saved, with what it replaces. */
  const kept = new BoundedMap<string, KeptValue<T>>(MAX_KEPT)
  /** What the log was told of. */
  const leftOut = new BoundedMap<string, true>(MAX_KEPT)
  /** How many changes were made here: what was read before one of them may be out of date. */
  let changes = 0
  const closed = new AbortController()
  let isRetrying = false

  async function openRecord(key: string, { data, version }: StoredRecord, readAt = 0): Promise<Versioned<T>> {
    const known = opened.get(key)
    const value = known?.version === version ? known.value : unseal(key, data)
    const record: OpenedRecord<T> = { version, value, readAt }
    // On a hit too: what was used last is forgotten last.
    opened.set(key, record)
    try {
      record.result = { value: await value, version }
      return record.result
    } catch (error) {
      opened.delete(key)
      throw error
    }
  }

  /** Of all that is looked at once, nothing is to take the place of what is used. */
  async function openOrBare(key: string, { data, version }: StoredRecord): Promise<MaybeOpened<T>> {
    const known = opened.get(key)
    try {
      return { value: await (known?.version === version ? known.value : unseal(key, data)), version }
    } catch (error) {
      if (!isUnopened(error)) throw error
      return { value: bare(data), version, unopened: error }
    }
  }

  async function getOrBare(key: string): Promise<MaybeOpened<T> | undefined> {
    try {
      return await get(key)
    } catch (error) {
      if (!isUnopened(error)) throw error
      const record = await store.get(collection, key)
      return record && openOrBare(key, record)
    }
  }

  function bare(data: object): T {
    const readable = Object.entries(data).filter(([name]) => !secretFields.includes(name))
    return deepFreeze(Object.fromEntries(readable)) as T
  }

  function tellOnce(key: string, { data }: StoredRecord, { message }: McpDcrError): void {
    if (leftOut.has(key)) return
    leftOut.set(key, true)
    const keyIds = keyIdsOf(data)
    logger?.error('a record does not open; it is left alone', { collection, key, keyIds, error: message })
  }

  function keyIdsOf(data: RecordData): (string | undefined)[] {
    return [...new Set(sealedValues(data, secretFields).map(sealer.keyIdOf))]
  }

  /** What was read last, or could not be saved. */
  async function remembered(key: string): Promise<Versioned<T> | undefined> {
    const unsaved = kept.get(key)
    if (unsaved !== undefined) return { value: unsaved.value, version: unsaved.held.version }
    const known = opened.get(key)
    return known && { value: await known.value, version: known.version }
  }

  async function unseal(key: string, data: RecordData): Promise<T> {
    const value: Record<string, unknown> = { ...data }
    for (const field of secretFields) {
      const sealed = data[field]
      if (typeof sealed === 'string') value[field] = await sealer.open(sealed, [collection, key, field])
    }
    return deepFreeze(value) as T
  }

  async function seal(key: string, value: T): Promise<RecordData> {
    const data: Record<string, unknown> = withoutUndefined(value)
    for (const field of secretFields) {
      const secret: unknown = data[field]
      if (typeof secret === 'string') data[field] = await sealer.seal(secret, [collection, key, field])
    }
    return data
  }

  async function get(key: string): Promise<Versioned<T> | undefined> {
    const changesBefore = changes
    // Before the record is read, which may be older than what is kept from then on.
    const unsaved = kept.get(key)
    const record = await store.get(collection, key)
    if (record === undefined) {
      forget(key)
      return undefined
    }
    if (unsaved === undefined) return openRecord(key, record, changes === changesBefore ? clock() : 0)
    const { version } = record
    if (unsaved.held.version === version || (await isResealed(key, record, unsaved.held))) {
      const isSaved = await write(key, version, unsaved.value).catch(() => undefined)
      if (isSaved === undefined) return { value: unsaved.value, version }
      if (isSaved) settle(key, unsaved, true)
    } else {
      // Saved all the same, its answer lost; or somebody else has changed the record meanwhile.
      settle(key, unsaved, await isResealed(key, record, unsaved))
    }
    return get(key)
  }

  /** Whether a record is what is held, but for its seals. Where one of the two does not open, the rest has to do. */
  async function isResealed(
    key: string,
    record: StoredRecord,
    held: Pick<MaybeOpened<T>, 'value' | 'unopened'>,
  ): Promise<boolean> {
    if (sealedValues(record.data, secretFields).length === 0) return false
    const stored = await openOrBare(key, record)
    const isWhole = stored.unopened === undefined && held.unopened === undefined
    return isWhole
      ? isDeepStrictEqual(stored.value, held.value)
      : isDeepStrictEqual(bare(record.data), bare(held.value))
  }

  /** Changes the record of the version that is held, or of the one to which that was sealed anew. */
  async function change(
    key: string,
    held: MaybeOpened<T> | undefined,
    changeVersion: (version: string | undefined) => Promise<boolean>,
  ): Promise<boolean> {
    for (let version = held?.version; !(await changeVersion(version));) {
      const record = held && (await store.get(collection, key))
      if (record === undefined || record.version === version) return false
      if (!(await isResealed(key, record, held as MaybeOpened<T>))) return false
      version = record.version
    }
    return true
  }

  /** Tells once what has become of a value that could not be saved. */
  function settle(key: string, unsaved: KeptValue<T>, isSaved: boolean): void {
    if (kept.get(key) !== unsaved) return
    kept.delete(key)
    if (isSaved) unsaved.onSaved()
  }

  function recent(key: string): Versioned<T> | undefined {
    const known = opened.get(key)
    return known?.result !== undefined && clock() - known.readAt < RECENT && !kept.has(key)
      ? known.result
      : undefined
  }

  async function recall(key: string, isGood: (value: T) => boolean): Promise<Versioned<T> | undefined> {
    if (store.shared && clock() - (opened.get(key)?.readAt ?? 0) < RECENT) {
      const recent = await remembered(key)
      if (recent !== undefined && isGood(recent.value)) return recent
    }
    try {
      return await get(key)
    } catch (error) {
      const last = isUnavailable(error) ? await remembered(key) : undefined
      if (last === undefined) throw error
      return last
    }
  }

  async function write(key: string, expected: string | undefined, value: T): Promise<boolean> {
    const isWritten = await store.compareAndSet(collection, key, expected, await seal(key, value))
    changed(key)
    return isWritten
  }

  async function save(key: string, held: MaybeOpened<T> | undefined, value: T): Promise<boolean> {
    const isSaved = await change(key, held, (version) => write(key, version, value))
    // What it has replaced is not to be saved any more.
    if (isSaved) kept.delete(key)
    return isSaved
  }

  async function remove(key: string, expected: string | undefined): Promise<boolean> {
    const isRemoved = await store.delete(collection, key, expected)
    changed(key)
    if (isRemoved) kept.delete(key)
    return isRemoved
  }

  /** Until all is saved. One loop for all that is kept. */
  async function retry(): Promise<void> {
    if (isRetrying) return
    isRetrying = true
    for (let delay = FIRST_RETRY; kept.size > 0; delay = Math.min(delay * 2, LAST_RETRY)) {
      await pause(delay, closed.signal).catch(() => undefined)
      if (closed.signal.aborted) break
      await saveKept()
    }
    isRetrying = false
  }

  async function saveKept(): Promise<void> {
    for (const key of [...kept.keys()]) {
      const isGone = await get(key).then(() => false, isUnavailable)
      // The others would wait as long, one after the other.
      if (isGone) return
    }
  }

  async function* stored(prefix: string): AsyncGenerator<StoredRecord & { readonly key: string }> {
    // Checked here too: what is listed for one server is revoked and deleted with it.
    for await (const record of store.list(collection, prefix)) if (record.key.startsWith(prefix)) yield record
  }

  function changed(key: string): void {
    changes++
    opened.delete(key)
  }

  function forget(key: string): void {
    opened.delete(key)
    kept.delete(key)
  }

  return {
    get,
    recent,
    recall,
    save,

    async saveOrKeep(key, held, given, onSaved = () => undefined) {
      const value = deepFreeze(withoutUndefined(given)) as T
      const unsaved: KeptValue<T> = { value, held, onSaved }
      kept.set(key, unsaved)
      try {
        const isSaved = await change(key, held, (version) => write(key, version, value))
        if (isSaved) settle(key, unsaved, true)
        // It may be saved by now by whoever has asked for the record meanwhile.
        else await get(key)
        return isSaved
      } catch (error) {
        void retry()
        throw error
      }
    },

    delete: (key, held) => change(key, held, (version) => remove(key, version)),

    getOrBare,

    async *list(prefix = '') {
      for await (const { key, ...record } of stored(prefix)) {
        const unsaved = kept.get(key)
        const { value, version, unopened } =
          unsaved?.held.version === record.version
            ? { value: unsaved.value, version: record.version, unopened: undefined }
            : await openOrBare(key, record)
        if (unopened === undefined) yield { key, value, version }
        else tellOnce(key, record, unopened)
      }
    },

    async *listBare(prefix = '') {
      for await (const { key, data, version } of stored(prefix)) yield { key, value: bare(data), version }
    },

    async close() {
      closed.abort()
      await saveKept()
    },

    async reseal() {
      const earlier: string[] = []
      const unopened: Record<string, number> = {}
      const doNotOpen: { key: string; version: string }[] = []
      let [records, opened, damaged, resealed] = [0, 0, 0, 0]
      for await (const { key, data, version } of stored('')) {
        records++
        const keyIds = keyIdsOf(data)
        if (keyIds.length === 0) continue
        try {
          await unseal(key, data)
          opened++
          if (keyIds.some((keyId) => keyId !== sealer.currentKeyId)) earlier.push(key)
        } catch (error) {
          if (!isUnopened(error)) throw error
          doNotOpen.push({ key, version })
          const lost = keyIds.find((keyId) => keyId !== undefined && !sealer.knows(keyId))
          if (lost === undefined) damaged++
          else unopened[lost] = (unopened[lost] ?? 0) + 1
        }
      }
      await forEachOf(earlier, RESEALED_AT_ONCE, async (key) => {
        const held = await getOrBare(key)
        if (held === undefined || held.unopened !== undefined) return
        if (await write(key, held.version, held.value)) resealed++
      })
      return {
        ...{ resealed, unopened, damaged, records, opened },
        async deleteUnopened() {
          for (const { key, version } of doNotOpen) await remove(key, version)
        },
      }
    },
  }
}

/** Whether a record does not open: its key is not held, or it was altered. */
export function isUnopened(error: unknown): error is McpDcrError {
  return (
    error instanceof McpDcrError &&
    (error.code === 'encryption_key_mismatch' || error.code === 'store_corrupt')
  )
}

function isUnavailable(error: unknown): boolean {
  return error instanceof McpDcrError && error.code === 'store_unavailable'
}

/**
 * For a store that is loaded as a whole: all that it holds sealed was sealed with a held key.
 *
 * @throws McpDcrError `encryption_key_mismatch`; `store_corrupt` where a secret is no sealed value.
 */
export function checkSealed(
  records: Iterable<{ readonly collection: string; readonly key: string; readonly data: RecordData }>,
  sealer: Sealer,
): void {
  for (const { collection, data } of records) {
    if (!Object.hasOwn(SECRET_FIELDS, collection)) continue
    for (const field of SECRET_FIELDS[collection as Collection]) {
      if (!Object.hasOwn(data, field)) continue
      const sealed = data[field]
      const keyId = typeof sealed === 'string' ? sealer.keyIdOf(sealed) : undefined
      if (keyId === undefined) {
        throw new McpDcrError(
          'store_corrupt',
          `A record of ${collection} has a ${field} that is not sealed.`,
          {
            fix: 'Restore the store from a backup, or delete it and sign in again.',
          },
        )
      }
      if (!sealer.knows(keyId)) throw keyMismatch(keyId)
    }
  }
}

function withoutUndefined(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, content]) => content !== undefined))
}

function sealedValues(data: RecordData, fields: readonly string[]): string[] {
  return fields.map((field) => data[field]).filter((value) => typeof value === 'string')
}

/** The key of a registration in `oauth_client_registrations`. */
export function registrationKey(server: string, issuer: string, redirectUri: string): string {
  return joinKey([server, issuer, redirectUri])
}

/** Where a registration is kept that another one has replaced: it still refreshes what was issued under it. */
export function formerRegistrationKey(key: string, clientId: string): string {
  return `${key}/${encodeURIComponent(clientId)}`
}

/** The key of a connection in `oauth_tokens`. */
export function connectionKey(user: string, server: string): string {
  return PLAIN.test(server) && PLAIN.test(user) ? `${server}/${user}` : joinKey([server, user])
}

/** What `encodeURIComponent` leaves as it is: most names, and of each request the key is asked for. */
const PLAIN = /^[\w.-]*$/

/** What the keys of a server's registrations and connections begin with. */
export function serverPrefix(server: string): string {
  return `${joinKey([server])}/`
}

function joinKey(parts: readonly string[]): string {
  try {
    return parts.map(encodeURIComponent).join('/')
  } catch (cause) {
    // A lone surrogate. Replacing it would give two users one key.
    throw new McpDcrError('invalid_options', 'A user id or a server name is not well-formed Unicode.', {
      cause,
      fix: 'Have the user option return another id, or rename the server.',
    })
  }
}
