/** The product's two collections. */
export type Collection = 'oauth_client_registrations' | 'oauth_tokens'

/** A record's content: plain JSON. Secret fields arrive here already sealed. */
export type RecordData = Readonly<Record<string, unknown>>

/** A stored record and the version by which {@link CredentialStore.compareAndSet} recognises it. */
export interface StoredRecord {
  readonly data: RecordData
  /** Opaque; differs after every write of the same key, also after a delete and a new create. */
  readonly version: string
}

/** Options of {@link CredentialStore.compareAndSet}. */
export interface SetOptions {
  /** When the record may vanish by itself, in epoch milliseconds. Defaults to never. */
  expiresAt?: number
}

/**
 * Where registrations and connections are kept. Named after the operation that must be atomic:
 * exclusion between requests, and between instances, is built on {@link compareAndSet} alone.
 *
 * Every method rejects with `McpDcrError` `store_unavailable` or `store_write_failed` when the backend
 * fails; a rejected write has changed nothing.
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
  /** Every live record of a collection, in no particular order. */
  list(collection: string): AsyncIterable<StoredRecord & { readonly key: string }>
  /** Releases what the store holds, after pending writes. */
  close?(): Promise<void>
  /** Whether several processes may use the backend at once. */
  readonly shared: boolean
}
