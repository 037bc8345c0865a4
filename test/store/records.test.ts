import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { Connection, Registration } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer, type Sealer } from '../../src/security/seal.js'
import { openJsonFileStore } from '../../src/store/json-file.js'
import type { CredentialStore, StoredRecord } from '../../src/store/contract.js'
import { memoryStore } from '../../src/store/memory.js'
import {
  checkSealed,
  connectionKey,
  createRecords,
  registrationKey,
  type MaybeOpened,
  type Records,
  type Versioned,
} from '../../src/store/records.js'
import { createReseal, resealAll } from '../../src/store/reseal.js'
import { errorOf, gate, openStore, recordingLogger, temporaryDirectory } from './support.js'

const OLD = 'an old key of more than 32 characters'
const NEW = 'a new key that has more than 32 characters'
const sealerOf = (...keys: string[]): Sealer => createSealer(loadKeys({ keys, keyFile: '', local: false }))

const registration: Registration = {
  status: 'registered',
  server: 'notion',
  serverUrl: 'https://mcp.example/mcp',
  issuer: 'https://as.example',
  redirectUri: 'https://gateway.example/api/oauth/callback',
  createdAt: 1,
  clientId: 'client-1',
  clientSecret: 'plain-client-secret',
  tokenEndpointAuthMethod: 'client_secret_basic',
  registrationAccessToken: 'plain-registration-token',
  registrationClientUri: 'https://as.example/register/client-1',
}

const connection: Connection = {
  user: 'ann',
  server: 'notion',
  serverUrl: 'https://mcp.example/mcp',
  status: 'connected',
  clientSource: 'dynamic',
  clientId: 'client-1',
  redirectUri: 'https://gateway.example/api/oauth/callback',
  authorizationServer: {
    issuer: 'https://as.example',
    authorization_endpoint: 'https://as.example/authorize',
    token_endpoint: 'https://as.example/token',
  },
  accessToken: 'plain-access-token',
  refreshToken: 'plain-refresh-token',
  obtainedBy: 'authorization',
  obtainedAt: 1,
  connectedAt: 1,
}

const ANN = connectionKey('ann', 'notion')
const BOB = connectionKey('bob', 'notion')

describe('records', () => {
  it('come back as they were saved; the file shows all of them but the secrets', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const { registrations, connections } = createRecords(openStore(path), sealerOf(NEW))
    expect(await registrations.save('r', undefined, registration)).toBe(true)
    expect(await connections.save(ANN, undefined, connection)).toBe(true)
    expect((await registrations.get('r'))?.value).toEqual(registration)
    expect((await connections.get(ANN))?.value).toEqual(connection)
    const text = readFileSync(path, 'utf8')
    expect(text).not.toContain('plain-')
    for (const readable of ['client-1', 'https://as.example/token', '"ann"', ANN])
      expect(text).toContain(readable)
  })

  it('omit what is undefined', async () => {
    const store = memoryStore()
    const { connections } = createRecords(store, sealerOf(NEW))
    await connections.save(ANN, undefined, {
      ...connection,
      refreshToken: undefined,
    } as unknown as Connection)
    expect((await store.get('oauth_tokens', ANN))?.data).not.toHaveProperty('refreshToken')
    expect((await connections.get(ANN))?.value).not.toHaveProperty('refreshToken')
  })

  it('change only from the version that was read', async () => {
    const { connections } = createRecords(memoryStore(), sealerOf(NEW))
    await connections.save(ANN, undefined, connection)
    const first = await connections.get(ANN)
    expect(await connections.save(ANN, first, { ...connection, accessToken: 'plain-2' })).toBe(true)
    expect(await connections.save(ANN, first, { ...connection, accessToken: 'plain-3' })).toBe(false)
    expect((await connections.get(ANN))?.value.accessToken).toBe('plain-2')
    expect(await connections.delete(ANN, first)).toBe(false)
    expect(await connections.delete(ANN)).toBe(true)
    expect(await connections.get(ANN)).toBeUndefined()
  })

  it('are listed with their keys', async () => {
    const { connections } = createRecords(memoryStore(), sealerOf(NEW))
    await connections.save(ANN, undefined, connection)
    await connections.save(BOB, undefined, { ...connection, user: 'bob' })
    const listed: Record<string, Connection> = {}
    for await (const { key, value } of connections.list()) listed[key] = value
    expect(listed).toEqual({ [ANN]: connection, [BOB]: { ...connection, user: 'bob' } })
  })

  it('that do not open are left out of a list, of which the log tells once; bare, all are listed', async () => {
    const store = memoryStore()
    const logger = recordingLogger()
    const lost = sealerOf(OLD)
    await createRecords(store, lost).connections.save(BOB, undefined, { ...connection, user: 'bob' })
    const { connections } = createRecords(store, sealerOf(NEW), { logger })
    await connections.save(ANN, undefined, connection)
    const { accessToken: _, refreshToken: __, ...bare } = connection
    for (let n = 0; n < 2; n++) {
      const listed = []
      for await (const { key, value } of connections.list()) listed.push([key, value])
      expect(listed).toEqual([[ANN, connection]])
      const listedBare: Record<string, unknown> = {}
      for await (const { key, value } of connections.listBare()) listedBare[key] = value
      expect(listedBare).toEqual({ [ANN]: bare, [BOB]: { ...bare, user: 'bob' } })
    }
    expect(logger.lines).toEqual([
      {
        level: 'error',
        message: expect.stringContaining('does not open') as string,
        details: {
          collection: 'oauth_tokens',
          key: BOB,
          keyIds: [lost.currentKeyId],
          error: expect.stringContaining(lost.currentKeyId) as string,
        },
      },
    ])
    expect(JSON.stringify(logger.lines)).not.toContain('plain-')
    expect(await connections.getOrBare(BOB)).toMatchObject({
      value: { ...bare, user: 'bob' },
      unopened: { code: 'encryption_key_mismatch' },
    })
  })

  it('that are listed do not take the place of what is in use', async () => {
    const sealer = sealerOf(NEW)
    const { connections } = createRecords(memoryStore(), sealer)
    await connections.save(ANN, undefined, connection)
    const open = vi.spyOn(sealer, 'open')
    for (let n = 0; n < 2; n++)
      for await (const { value } of connections.list()) expect(value).toEqual(connection)
    expect(open).toHaveBeenCalledTimes(4)
    await connections.get(ANN)
    for await (const { value } of connections.list()) expect(value).toEqual(connection)
    expect(open).toHaveBeenCalledTimes(6)
  })

  it('are opened once per version, also by concurrent readers, and are frozen', async () => {
    const sealer = sealerOf(NEW)
    const open = vi.spyOn(sealer, 'open')
    const { connections } = createRecords(memoryStore(), sealer)
    await connections.save(ANN, undefined, connection)
    const read = await Promise.all([connections.get(ANN), connections.get(ANN)])
    for await (const listed of connections.list()) read.push(listed)
    read.push(await connections.get(ANN))
    expect(new Set(read.map((record) => record?.value)).size).toBe(1)
    expect(open).toHaveBeenCalledTimes(2)
    expect(() => Object.assign(read[0]!.value.authorizationServer, { issuer: 'x' })).toThrow(TypeError)

    await connections.save(ANN, read[0], connection)
    expect((await connections.get(ANN))?.value).not.toBe(read[0]?.value)
    expect(open).toHaveBeenCalledTimes(4)
  })

  it.each<[string, string, 'accessToken' | 'refreshToken']>([
    ['another record', BOB, 'accessToken'],
    ['another field', ANN, 'refreshToken'],
  ])('do not open with a secret moved to %s', async (_where, key, field) => {
    const store = memoryStore()
    const { connections } = createRecords(store, sealerOf(NEW))
    await connections.save(ANN, undefined, connection)
    await connections.save(BOB, undefined, { ...connection, user: 'bob' })
    const stolen = (await store.get('oauth_tokens', ANN))?.data.accessToken
    const target = await store.get('oauth_tokens', key)
    await store.compareAndSet('oauth_tokens', key, target?.version, { ...target?.data, [field]: stolen })
    await expect(connections.get(key)).rejects.toThrow(errorOf('store_corrupt'))
    await expect(connections.get(key)).rejects.toThrow(errorOf('store_corrupt'))
  })

  it('sealed with an earlier key open, and a rewrite seals them with the newest', async () => {
    const store = memoryStore()
    await createRecords(store, sealerOf(OLD)).connections.save(ANN, undefined, connection)
    const rotated = sealerOf(NEW, OLD)
    const { connections } = createRecords(store, rotated)
    const read = await connections.get(ANN)
    expect(read?.value).toEqual(connection)
    await connections.save(ANN, read, connection)
    const { accessToken, refreshToken } = (await store.get('oauth_tokens', ANN))?.data as Record<
      string,
      string
    >
    for (const sealed of [accessToken, refreshToken]) {
      expect(rotated.keyIdOf(sealed ?? '')).toBe(rotated.currentKeyId)
    }
    expect((await createRecords(store, sealerOf(NEW)).connections.get(ANN))?.value).toEqual(connection)
  })
})

describe('recalled records', () => {
  const isGood = (): boolean => true

  function shared(): {
    store: CredentialStore
    at: (ms: number) => void
    connections: Records['connections']
  } {
    let now = 1_000_000
    const store: CredentialStore = { ...memoryStore(), shared: true }
    const { connections } = createRecords(store, sealerOf(NEW), { clock: () => now })
    return { store, connections, at: (ms) => (now = 1_000_000 + ms) }
  }

  it('are asked for once a second where the store is shared, at every call where it is not', async () => {
    const { store, connections, at } = shared()
    await connections.save(ANN, undefined, connection)
    const get = vi.spyOn(store, 'get')
    for (const ms of [0, 1, 999]) {
      at(ms)
      expect((await connections.recall(ANN, isGood))?.value).toEqual(connection)
    }
    expect(get).toHaveBeenCalledTimes(1)
    at(1000)
    await connections.recall(ANN, isGood)
    expect(get).toHaveBeenCalledTimes(2)

    const own = memoryStore()
    const ownGet = vi.spyOn(own, 'get')
    const records = createRecords(own, sealerOf(NEW), { clock: () => 0 })
    await records.connections.save(ANN, undefined, connection)
    await records.connections.recall(ANN, isGood)
    await records.connections.recall(ANN, isGood)
    expect(ownGet).toHaveBeenCalledTimes(2)
  })

  it('show what another instance has changed after a second, or at once where what is known is not good', async () => {
    const { store, connections, at } = shared()
    await connections.save(ANN, undefined, connection)
    const first = await connections.recall(ANN, isGood)
    const elsewhere = createRecords(store, sealerOf(NEW))
    await elsewhere.connections.save(ANN, first, { ...connection, accessToken: 'plain-2' })
    expect((await connections.recall(ANN, isGood))?.value.accessToken).toBe('plain-access-token')
    expect((await connections.recall(ANN, () => false))?.value.accessToken).toBe('plain-2')
    at(1000)
    await elsewhere.connections.delete(ANN)
    expect(await connections.recall(ANN, isGood)).toBeUndefined()
  })

  it('are at hand without waiting for a second, until this instance changes them', async () => {
    const { connections, at } = shared()
    await connections.save(ANN, undefined, connection)
    expect(connections.recent(ANN)).toBeUndefined()
    const first = await connections.recall(ANN, isGood)
    expect(connections.recent(ANN)).toEqual(first)
    at(1000)
    expect(connections.recent(ANN)).toBeUndefined()
    await connections.recall(ANN, isGood)
    await connections.save(ANN, first, { ...connection, accessToken: 'plain-2' })
    expect(connections.recent(ANN)).toBeUndefined()
  })

  it('show at once what this instance has changed', async () => {
    const { connections } = shared()
    await connections.save(ANN, undefined, connection)
    const first = await connections.recall(ANN, isGood)
    await connections.save(ANN, first, { ...connection, accessToken: 'plain-2' })
    expect((await connections.recall(ANN, isGood))?.value.accessToken).toBe('plain-2')
    await connections.delete(ANN)
    expect(await connections.recall(ANN, isGood)).toBeUndefined()
  })

  it('that were on their way while this instance has changed them are asked for again', async () => {
    const { store, connections } = shared()
    await connections.save(ANN, undefined, connection)
    const first = await store.get('oauth_tokens', ANN)
    const { opened, open } = gate()
    vi.spyOn(store, 'get').mockImplementationOnce(() => opened.then(() => first))
    const late = connections.recall(ANN, isGood)
    const held = { value: connection, version: first?.version ?? '' }
    await connections.save(ANN, held, { ...connection, accessToken: 'plain-2' })
    open()
    expect((await late)?.value.accessToken).toBe('plain-access-token')
    expect((await connections.recall(ANN, isGood))?.value.accessToken).toBe('plain-2')
  })

  it('are known while the store is gone; those that were never read are not', async () => {
    const { store, connections, at } = shared()
    await connections.save(ANN, undefined, connection)
    await connections.recall(ANN, isGood)
    at(3600_000)
    const gone = new McpDcrError('store_unavailable', 'The store is gone.')
    const get = vi.spyOn(store, 'get').mockRejectedValue(gone)
    expect((await connections.recall(ANN, isGood))?.value).toEqual(connection)
    await expect(connections.recall(BOB, isGood)).rejects.toBe(gone)
    await expect(connections.get(ANN)).rejects.toBe(gone)
    get.mockRejectedValue(new Error('another failure'))
    await expect(connections.recall(ANN, isGood)).rejects.toThrow('another failure')
  })

  it('include what could not be saved, while the store is gone', async () => {
    const { store, connections } = shared()
    await connections.save(ANN, undefined, connection)
    const held = (await connections.get(ANN))!
    const gone = new McpDcrError('store_unavailable', 'The store is gone.')
    vi.spyOn(store, 'get').mockRejectedValue(gone)
    vi.spyOn(store, 'compareAndSet').mockRejectedValue(gone)
    const rotated = { ...connection, refreshToken: 'plain-2' }
    await expect(connections.saveOrKeep(ANN, held, rotated)).rejects.toBe(gone)
    expect((await connections.recall(ANN, isGood))?.value).toEqual(rotated)
  })
})

describe('what could not be saved', () => {
  const gone = new McpDcrError('store_unavailable', 'The store is gone.')
  const rotated = { ...connection, accessToken: 'plain-2', refreshToken: 'plain-rotated' }

  /** Two gateways on one store, of which the first has a rotated token that it could not save. */
  async function unsaved(): Promise<{
    store: CredentialStore
    one: Records['connections']
    other: Records['connections']
    waits: number[]
    elapse: () => Promise<void>
    goneAgain: (times: number) => void
    saved: () => number
  }> {
    const backend = memoryStore()
    const store: CredentialStore = { ...backend, shared: true }
    const waits: number[] = []
    let next = gate()
    let waiting = gate()
    const pause = (ms: number, signal?: AbortSignal): Promise<void> => {
      waits.push(ms)
      next = gate()
      signal?.addEventListener('abort', () => next.fail(new Error('aborted')))
      waiting.open()
      waiting = gate()
      return next.opened
    }
    const one = createRecords(store, sealerOf(NEW), { clock: () => 0, pause }).connections
    const other = createRecords({ ...backend, shared: true }, sealerOf(NEW), { clock: () => 0 }).connections
    await one.save(ANN, undefined, connection)
    const held = (await one.get(ANN))!
    vi.spyOn(store, 'compareAndSet').mockRejectedValueOnce(gone)
    let saved = 0
    const begun = waiting.opened
    await expect(one.saveOrKeep(ANN, held, rotated, () => saved++)).rejects.toBe(gone)
    await begun
    return {
      store,
      one,
      other,
      waits,
      saved: () => saved,
      elapse: async () => {
        const again = waiting.opened
        next.open()
        await Promise.race([again, vi.waitFor(() => expect(saved).toBe(1))])
      },
      goneAgain: (times) => {
        const get = vi.spyOn(store, 'get')
        for (let n = 0; n < times; n++) get.mockRejectedValueOnce(gone)
      },
    }
  }

  it('is saved in the background once the store is back: another instance sends no rotated token', async () => {
    const { other, waits, elapse, goneAgain, saved } = await unsaved()
    goneAgain(5)
    for (let n = 0; n < 5; n++) await elapse()
    expect(saved()).toBe(0)
    expect((await other.get(ANN))?.value.refreshToken).toBe('plain-refresh-token')
    await elapse()
    expect(saved()).toBe(1)
    expect((await other.get(ANN))?.value).toEqual(rotated)
    expect(waits).toEqual([100, 200, 400, 800, 1000, 1000])
  })

  it('is dropped once something else is saved in its place', async () => {
    const { store, one } = await unsaved()
    vi.spyOn(store, 'compareAndSet').mockRejectedValueOnce(gone)
    const held = await one.get(ANN)
    expect(held?.value).toEqual(rotated)
    expect(await one.save(ANN, held, connection)).toBe(true)
    vi.spyOn(store, 'get').mockRejectedValue(gone)
    await expect(one.recall(ANN, () => true)).rejects.toBe(gone)
  })

  it('is saved at the end, and not tried after it', async () => {
    const { one, other, waits, saved } = await unsaved()
    await one.close()
    expect((await other.get(ANN))?.value).toEqual(rotated)
    expect([saved(), waits]).toEqual([1, [100]])
  })

  it.each(['when the record is asked for', 'at the end'])(
    'although it was, the answer being lost, is told as saved, once, %s',
    async (when) => {
      const { store, one, saved } = await unsaved()
      const { compareAndSet } = store
      vi.spyOn(store, 'compareAndSet').mockImplementationOnce(async (...args) => {
        await compareAndSet(...args)
        throw gone
      })
      expect((await one.get(ANN))?.value).toEqual(rotated)
      expect(saved()).toBe(0)
      if (when === 'at the end') await one.close()
      else await Promise.all([one.get(ANN), one.get(ANN)])
      expect((await one.get(ANN))?.value).toEqual(rotated)
      expect(saved()).toBe(1)
    },
  )

  it('is not told as saved where somebody else has changed the record', async () => {
    const { one, other, saved } = await unsaved()
    await other.save(ANN, await other.get(ANN), { ...connection, refreshToken: 'plain-of-another' })
    expect((await one.get(ANN))?.value.refreshToken).toBe('plain-of-another')
    expect(saved()).toBe(0)
  })

  it('holds up no end where the store stays gone', async () => {
    const { one, other, waits, goneAgain } = await unsaved()
    goneAgain(1)
    await one.close()
    expect((await other.get(ANN))?.value).toEqual(connection)
    expect(waits).toEqual([100])
  })
})

describe('sealing anew', () => {
  const silent = recordingLogger()

  async function sealedWith(key: string): Promise<CredentialStore> {
    const store = memoryStore()
    const records = createRecords(store, sealerOf(key))
    await records.registrations.save('r', undefined, registration)
    await records.connections.save(ANN, undefined, connection)
    await records.connections.save(BOB, undefined, { ...connection, refreshToken: undefined } as never)
    return store
  }

  it('leaves nothing that needs the earlier key', async () => {
    const store = await sealedWith(OLD)
    const reseal = createReseal(createRecords(store, sealerOf(NEW, OLD)), silent)
    expect(await reseal()).toEqual({ resealed: 3, unopened: {}, damaged: 0 })
    const { registrations, connections } = createRecords(store, sealerOf(NEW))
    expect((await registrations.get('r'))?.value).toEqual(registration)
    expect((await connections.get(ANN))?.value).toEqual(connection)
    expect(await reseal()).toEqual({ resealed: 0, unopened: {}, damaged: 0 })
  })

  it('leaves alone what is sealed with a lost key, says which, and what was altered; the rest is done', async () => {
    const store = await sealedWith(OLD)
    const lost = sealerOf('a lost key of more than 32 characters')
    await createRecords(store, lost).connections.save('notion/eve', undefined, connection)
    const altered = (await store.get('oauth_tokens', ANN)) as StoredRecord
    await store.compareAndSet('oauth_tokens', 'notion/mallory', undefined, altered.data)
    const before = await store.get('oauth_tokens', 'notion/eve')
    const logger = recordingLogger()
    const report = await createReseal(createRecords(store, sealerOf(NEW, OLD)), logger)()
    expect(report).toEqual({ resealed: 3, unopened: { [lost.currentKeyId]: 1 }, damaged: 1 })
    expect(await store.get('oauth_tokens', 'notion/eve')).toEqual(before)
    expect(logger.lines.map(({ level, details }) => [level, details])).toEqual([
      ['info', { resealed: 3 }],
      ['error', { keyId: lost.currentKeyId, records: 1 }],
      ['error', { records: 1 }],
    ])
    const { connections } = createRecords(store, sealerOf(NEW, OLD))
    await expect(connections.get('notion/eve')).rejects.toThrow(errorOf('encryption_key_mismatch'))
    await expect(connections.get('notion/eve')).rejects.toThrow(lost.currentKeyId)
  })

  it('does not undo a change that comes between', async () => {
    const store = await sealedWith(OLD)
    const { connections } = createRecords(store, sealerOf(NEW, OLD))
    const { get } = store
    vi.spyOn(store, 'get').mockImplementationOnce(async (collection, key) => {
      const record = await get(collection, key)
      const held = { value: connection, version: record?.version ?? '' }
      await createRecords(store, sealerOf(OLD)).connections.save(key, held, {
        ...connection,
        accessToken: 'plain-2',
      })
      return record
    })
    expect(await connections.reseal()).toMatchObject({ resealed: 1 })
    expect((await connections.get(ANN))?.value.accessToken).toBe('plain-2')
  })

  it('by another instance loses nothing that this one could not save', async () => {
    const store = await sealedWith(OLD)
    const { connections } = createRecords(store, sealerOf(NEW, OLD))
    const held = await connections.get(ANN)
    vi.spyOn(store, 'compareAndSet').mockRejectedValueOnce(new Error('full'))
    const rotated = { ...connection, refreshToken: 'plain-2' }
    await expect(connections.saveOrKeep(ANN, held!, rotated)).rejects.toThrow('full')
    await createRecords(store, sealerOf(NEW, OLD)).connections.reseal()
    expect((await connections.get(ANN))?.value).toEqual(rotated)
    expect((await createRecords(store, sealerOf(NEW)).connections.get(ANN))?.value).toEqual(rotated)
  })

  /** A record that was read here, and then sealed anew by another instance. */
  async function resealedElsewhere(keys: string[]): Promise<{
    store: CredentialStore
    connections: Records['connections']
    held: MaybeOpened<Connection>
  }> {
    const store = await sealedWith(OLD)
    const { connections } = createRecords(store, sealerOf(...keys))
    const held = (await connections.getOrBare(ANN))!
    await createRecords(store, sealerOf(NEW, OLD)).connections.reseal()
    return { store, connections, held }
  }

  it.each([
    ['opens', [NEW, OLD]],
    ['does not open here, as the key is not known yet', [OLD]],
  ])(
    'by another instance keeps nobody from saving in place of what is held, where it %s',
    async (_, keys) => {
      const { store, connections, held } = await resealedElsewhere(keys)
      let saved = 0
      const rotated = { ...connection, refreshToken: 'plain-2' }
      expect(await connections.saveOrKeep(ANN, held, rotated, () => saved++)).toBe(true)
      expect(saved).toBe(1)
      expect((await createRecords(store, sealerOf(NEW, OLD)).connections.get(ANN))?.value).toEqual(rotated)
      expect(await connections.save(ANN, held, connection)).toBe(false)
    },
  )

  it.each([
    ['opens', [NEW, OLD]],
    ['did not open here', ['a key of another one that has more than 32 characters']],
  ])('by another instance keeps nobody from deleting what is held, where it %s', async (_, keys) => {
    const { store, connections, held } = await resealedElsewhere(keys)
    expect(await connections.delete(ANN, held)).toBe(true)
    expect(await store.get('oauth_tokens', ANN)).toBeUndefined()
  })

  it('twice while a change is on its way does not keep that from being made', async () => {
    const { store, connections, held } = await resealedElsewhere([NEW, OLD])
    const { get } = store
    vi.spyOn(store, 'get').mockImplementationOnce(async (collection, key) => {
      const record = await get(collection, key)
      await createRecords(store, sealerOf(OLD, NEW)).connections.reseal()
      return record
    })
    expect(await connections.delete(ANN, held)).toBe(true)
  })

  it('is not what has happened where the value differs: it is neither replaced nor deleted', async () => {
    const { store, connections, held } = await resealedElsewhere([NEW, OLD])
    const other = createRecords(store, sealerOf(NEW)).connections
    const changed = { ...connection, refreshToken: 'plain-of-another' }
    await other.save(ANN, await other.get(ANN), changed)
    expect(await connections.delete(ANN, held)).toBe(false)
    expect(await connections.saveOrKeep(ANN, held as Versioned<Connection>, connection)).toBe(false)
    expect((await connections.get(ANN))?.value).toEqual(changed)
  })

  it('is not what has happened to a record without secrets, however alike', async () => {
    const { registrations } = createRecords(memoryStore(), sealerOf(NEW))
    const { clientSecret: _, registrationAccessToken: __, ...bare } = registration
    await registrations.save('r', undefined, bare)
    const held = (await registrations.get('r'))!
    await registrations.save('r', held, bare)
    expect(await registrations.delete('r', held)).toBe(false)
  })

  it('seals both secrets of a record of which one only is sealed with the earlier key', async () => {
    const store = await sealedWith(OLD)
    const old = (await store.get('oauth_tokens', ANN)) as StoredRecord
    const { connections } = createRecords(store, sealerOf(NEW, OLD))
    await connections.reseal()
    const { data, version } = (await store.get('oauth_tokens', ANN)) as StoredRecord
    await store.compareAndSet('oauth_tokens', ANN, version, { ...data, accessToken: old.data.accessToken })
    expect(await connections.reseal()).toMatchObject({ resealed: 1 })
    expect((await createRecords(store, sealerOf(NEW)).connections.get(ANN))?.value).toEqual(connection)
  })

  it('then deletes what did not open, unless it has changed since', async () => {
    const store = await sealedWith(OLD)
    const records = createRecords(store, sealerOf(NEW))
    await records.connections.save('notion/eve', undefined, connection)
    const { deleteUnopened } = await resealAll(records)
    // The other key was not lost after all.
    const other = createRecords(store, sealerOf(NEW, OLD)).connections
    await other.save(ANN, await other.get(ANN), connection)
    await deleteUnopened()
    const left: string[] = []
    for (const collection of ['oauth_client_registrations', 'oauth_tokens'])
      for await (const { key } of store.list(collection)) left.push(key)
    expect(left.sort()).toEqual([ANN, 'notion/eve'])
  })

  it('is done once for all that ask meanwhile', async () => {
    const store = await sealedWith(OLD)
    const list = vi.spyOn(store, 'list')
    const reseal = createReseal(createRecords(store, sealerOf(NEW, OLD)), silent)
    const [one, other] = await Promise.all([reseal(), reseal()])
    expect(one).toBe(other)
    expect(list).toHaveBeenCalledTimes(2)
  })
})

describe('checkSealed, at the opening of a file', () => {
  const openWith = (path: string, sealer: Sealer) =>
    openJsonFileStore({
      path,
      clock: Date.now,
      logger: recordingLogger(),
      verify: (records) => checkSealed(records, sealer),
    })

  it('refuses a wrong key, names the right one’s id, and leaves the file alone', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const store = openStore(path)
    await createRecords(store, sealerOf(OLD)).registrations.save('r', undefined, registration)
    await store.close()
    const bytes = readFileSync(path)
    expect(() => openWith(path, sealerOf(NEW))).toThrow(errorOf('encryption_key_mismatch'))
    expect(() => openWith(path, sealerOf(NEW))).toThrow(sealerOf(OLD).currentKeyId)
    expect(readFileSync(path)).toEqual(bytes)
    const reopened = openWith(path, sealerOf(NEW, OLD))
    const { registrations } = createRecords(reopened, sealerOf(NEW, OLD))
    expect((await registrations.get('r'))?.value).toEqual(registration)
    await reopened.close()
  })

  it('refuses a secret that is not sealed, without showing it', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const store = openStore(path)
    await store.compareAndSet('oauth_tokens', ANN, undefined, { accessToken: 'plain-text' })
    await store.close()
    expect(() => openWith(path, sealerOf(NEW))).toThrow(errorOf('store_corrupt'))
    expect(() => openWith(path, sealerOf(NEW))).not.toThrow('plain-text')
  })
})

describe('keys', () => {
  it('begin with the server, are readable, and keep their parts apart', () => {
    expect(connectionKey('ann', 'notion')).toBe('notion/ann')
    expect(registrationKey('notion', 'https://as.example/t', 'http://localhost:1/cb')).toBe(
      'notion/https%3A%2F%2Fas.example%2Ft/http%3A%2F%2Flocalhost%3A1%2Fcb',
    )
    expect(connectionKey('b/c', 'a')).not.toBe(connectionKey('c', 'a/b'))
  })

  it('are never made from text that is not well-formed: two users must not share one', () => {
    expect(() => connectionKey('\ud800', 'notion')).toThrow(errorOf('invalid_options'))
  })
})
