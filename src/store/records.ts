import { BoundedMap } from '../bounded-map.js'
import { McpDcrError } from '../errors.js'
import type { Connection, Registration } from '../model.js'
import { keyMismatch, type Sealer } from '../security/seal.js'
import type { Collection, CredentialStore, RecordData, StoredRecord } from './contract.js'
import { deepFreeze } from './entry.js'

/** A value and the version by which a later change recognises it. */
export interface Versioned<T> {
  /** Frozen. The same object for the same version, as long as it is kept in memory. */
  readonly value: T
  readonly version: string
}

/** One collection, its secrets in plain text. Errors are the store's and the sealer's. */
export interface RecordCollection<T> {
  get(key: string): Promise<Versioned<T> | undefined>
  /** Writes only if the stored version is still `expected` (undefined: the record must be absent); false when it lost. */
  save(key: string, expected: string | undefined, value: T): Promise<boolean>
  /**
   * As {@link save}, for what cannot be had again, such as a rotated token: where the store fails, this rejects,
   * and the value is held in memory, taken for the stored one, and saved when the record is next asked for.
   *
   * @param onSaved called once the value is stored, now or later
   */
  saveOrKeep(key: string, expected: string, value: T, onSaved?: () => void): Promise<boolean>
  /** True for the one caller that removed it. */
  delete(key: string, expected?: string): Promise<boolean>
  /** @param prefix what the keys begin with. Defaults to all */
  list(prefix?: string): AsyncIterable<Versioned<T> & { readonly key: string }>
}

/** A registration, and where it is kept. */
export type FoundRegistration = Versioned<Registration> & { readonly key: string }

export interface Records {
  readonly registrations: RecordCollection<Registration>
  readonly connections: RecordCollection<Connection>
}

/** What is sealed at rest; everything else stays readable. */
const SECRET_FIELDS: Readonly<Record<Collection, readonly string[]>> = {
  oauth_client_registrations: ['clientSecret', 'registrationAccessToken'],
  oauth_tokens: ['accessToken', 'refreshToken'],
}

const MAX_OPENED = 5_000
const MAX_KEPT = 10_000

export function createRecords(store: CredentialStore, sealer: Sealer): Records {
  return {
    registrations: createCollection<Registration>(store, sealer, 'oauth_client_registrations'),
    connections: createCollection<Connection>(store, sealer, 'oauth_tokens'),
  }
}

function createCollection<T extends object>(
  store: CredentialStore,
  sealer: Sealer,
  collection: Collection,
): RecordCollection<T> {
  const secretFields = SECRET_FIELDS[collection]
  // Promises, so that concurrent readers of one version share the opening and the object.
  const opened = new BoundedMap<string, { version: string; value: Promise<T> }>(MAX_OPENED)
  /** What could not be saved, with the version that it replaces. */
  const kept = new BoundedMap<string, Versioned<T> & { onSaved: () => void }>(MAX_KEPT)

  async function openRecord(key: string, { data, version }: StoredRecord): Promise<Versioned<T>> {
    let entry = opened.get(key)
    if (entry?.version !== version) entry = { version, value: unseal(key, data) }
    // On a hit too: what was used last is forgotten last.
    opened.set(key, entry)
    try {
      return { value: await entry.value, version }
    } catch (error) {
      opened.delete(key)
      throw error
    }
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
    const data = Object.fromEntries(Object.entries(value).filter(([, content]) => content !== undefined))
    for (const field of secretFields) {
      const secret: unknown = data[field]
      if (typeof secret === 'string') data[field] = await sealer.seal(secret, [collection, key, field])
    }
    return data
  }

  async function get(key: string): Promise<Versioned<T> | undefined> {
    const record = await store.get(collection, key)
    if (record === undefined) {
      forget(key)
      return undefined
    }
    const unsaved = kept.get(key)
    if (unsaved === undefined) return openRecord(key, record)
    if (unsaved.version === record.version) {
      const isSaved = await save(key, unsaved.version, unsaved.value).catch(() => undefined)
      if (isSaved === undefined) return { value: unsaved.value, version: unsaved.version }
      if (isSaved) unsaved.onSaved()
    }
    // Saved now, or somebody else has changed the record meanwhile.
    kept.delete(key)
    return get(key)
  }

  async function save(key: string, expected: string | undefined, value: T): Promise<boolean> {
    return store.compareAndSet(collection, key, expected, await seal(key, value))
  }

  function forget(key: string): void {
    opened.delete(key)
    kept.delete(key)
  }

  return {
    get,
    save,

    async saveOrKeep(key, version, value, onSaved = () => undefined) {
      kept.set(key, { version, value: deepFreeze(value), onSaved })
      const isSaved = await save(key, version, value)
      kept.delete(key)
      if (isSaved) onSaved()
      return isSaved
    },

    async delete(key, expected) {
      const removed = await store.delete(collection, key, expected)
      if (removed) forget(key)
      return removed
    },

    async *list(prefix = '') {
      for await (const { key, ...record } of store.list(collection)) {
        if (!key.startsWith(prefix)) continue
        const unsaved = kept.get(key)
        yield unsaved?.version === record.version
          ? { key, value: unsaved.value, version: unsaved.version }
          : { key, ...(await openRecord(key, record)) }
      }
    },
  }
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
  return joinKey([server, user])
}

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
