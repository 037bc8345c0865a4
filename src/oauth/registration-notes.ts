import type { CredentialStore } from '../store/contract.js'

/** What is noted of a registration: see unusable-clients.ts, and the route that registers again. */
type NoteKind = 'unusable' | 'registered_again'

/** For how long a note counts, in milliseconds. */
const NOTED_FOR = 10 * 60_000

/** The collection of the notes: times in epoch milliseconds, nothing secret. */
const COLLECTION = 'registration_notes'

/** Others change a note in between: a save loses only against them. */
const MAX_SAVES = 5

/**
 * When something happened to a registration lately, by its key. In the store: sign-ins begin at one instance and end
 * at another, and each would count on its own. Errors are the store's.
 */
export interface RegistrationNotes {
  /** The times that still count, in epoch milliseconds. */
  recent(kind: NoteKind, key: string): Promise<readonly number[]>
  /** Notes that it happened now. */
  add(kind: NoteKind, key: string): Promise<void>
  clear(kind: NoteKind, key: string): Promise<void>
}

/** @param clock the current time in epoch milliseconds */
export function createRegistrationNotes(store: CredentialStore, clock: () => number): RegistrationNotes {
  async function load(id: string): Promise<{ times: readonly number[]; version?: string }> {
    const record = await store.get(COLLECTION, id)
    if (record === undefined) return { times: [] }
    const { times } = record.data as { times: readonly number[] }
    return { times: times.filter((time) => clock() - time < NOTED_FOR), version: record.version }
  }

  return {
    recent: async (kind, key) => (await load(idOf(kind, key))).times,

    async add(kind, key) {
      const id = idOf(kind, key)
      for (let attempt = 0; attempt < MAX_SAVES; attempt++) {
        const { times, version } = await load(id)
        const data = { times: [...times, clock()] }
        if (await store.compareAndSet(COLLECTION, id, version, data, { expiresAt: clock() + NOTED_FOR }))
          return
      }
    },

    async clear(kind, key) {
      await store.delete(COLLECTION, idOf(kind, key))
    },
  }
}

function idOf(kind: NoteKind, key: string): string {
  return `${kind}/${key}`
}
