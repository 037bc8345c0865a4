import type { Adapter, AdapterPayload } from 'oidc-provider'

/** All that one authorization server keeps: a map per model. */
export class ProviderMemory {
  readonly #models = new Map<string, Map<string, AdapterPayload>>()

  of(model: string): Map<string, AdapterPayload> {
    let records = this.#models.get(model)
    if (!records) this.#models.set(model, (records = new Map()))
    return records
  }

  // oidc-provider's own memory adapter warns on the console, and forgets after 1000 records.
  readonly adapter = (model: string): Adapter => {
    const records = this.of(model)
    const findBy = (field: 'uid' | 'userCode', value: string) =>
      Promise.resolve([...records.values()].find((it) => it[field] === value))
    return {
      upsert: async (id, payload) => void records.set(id, payload),
      find: async (id) => records.get(id),
      findByUid: (uid) => findBy('uid', uid),
      findByUserCode: (userCode) => findBy('userCode', userCode),
      destroy: async (id) => void records.delete(id),
      consume: async (id) => {
        const record = records.get(id)
        if (record) record.consumed = Math.floor(Date.now() / 1000)
      },
      revokeByGrantId: async (grantId) => {
        for (const [id, record] of records) if (record.grantId === grantId) records.delete(id)
      },
    }
  }
}
