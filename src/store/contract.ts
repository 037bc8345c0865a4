/** The product's two collections. */
export type Collection = 'oauth_client_registrations' | 'oauth_tokens'

/** A record's content: plain JSON. Secret fields arrive here already sealed. */
export type RecordData = Readonly<Record<string, unknown>>

/** A stored record and the version by which {@link CredentialStore.compareAndSet} recognises it. */
export interface StoredRecord {
  readonly data: RecordData
  /** Opaque, and not empty; differs after every write of the same key, also after a delete and a new create. */
  readonly version: string
}

/** Options of {@link CredentialStore.compareAndSet}. */
export interface SetOptions {
  /** When the record is gone by itself, by the store's clock, in epoch milliseconds. Defaults to never. */
  expiresAt?: number
}

/**
 * Where registrations and connections are kept. Named after the operation that must be atomic:
 * exclusion between requests, and between instances, is built on {@link compareAndSet} alone.
 *
 * Every method rejects with `McpDcrError` `store_unavailable` or `store_write_failed` when the backend
 * fails. A rejected write has changed nothing, unless it is the backend's answer that was lost: then it may
 * have been carried out once, and reading tells.
 *
 * A collection and a key are any text. `mcp-dcr/compliance` checks a store for all that is said here.
 */
export interface CredentialStore {
  /** The record, or undefined if it is absent or expired. */
  get(collection: string, key: string): Promise<StoredRecord | undefined>
  /**
   * Writes only if the stored version is still `expected` (undefined: the record must be absent).
   * Resolves, once the change is durable, to whether it was written; false means that it lost.
   */
  compareAndSet(
    collection: string,
    key: string,
    expected: string | undefined,
    data: RecordData,
    options?: SetOptions,
  ): Promise<boolean>
  /** Deletes, only if the version is still `expected` where one is given. True for the one caller that removed it. */
  delete(collection: string, key: string, expected?: string): Promise<boolean>
  /**
   * The live records of a collection, in no particular order. What is written meanwhile may or may not be among
   * them; what was there all the time is there once.
   *
   * @param prefix what the keys begin with. Defaults to all
   */
  list(collection: string, prefix?: string): AsyncIterable<StoredRecord & { readonly key: string }>
  /** Releases what the store holds, after pending writes. */
  close?(): Promise<void>
  /** Whether several processes may use the backend at once. */
  readonly shared: boolean
}
