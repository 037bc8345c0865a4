/** One store with several numbers of connections, and the ways of a request to one of them. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { Pool } from 'pg'
import { createClient } from 'redis'
import type { CredentialStore } from '../../src/index.js'
import type { Records } from '../../src/store/records.js'
import {
  connectionKey,
  createContext,
  createRecords,
  liveConnection,
  memoryStore,
  postgresStore,
  redisStore,
  resolveOptions,
} from '../built.js'
import { memoryInUse } from '../memory.js'
import { answerOrders } from '../processes.js'
import { KEPT_OPEN, SERVER, userAt } from '../fixtures.js'
import { ENCRYPTION_KEY, openFile, sealer, temporaryDirectory } from '../seed.js'

export type Lookup = typeof orders

export type StoreKind = 'memory' | 'JSON file' | 'Postgres' | 'Redis'

/** Who is looked up: people not asked for before; the same hundred; everybody in turn. */
export type Who = 'new' | 'again' | 'in turn'

export interface Population {
  /** A JSON file with so many connections. */
  readonly path: string
  readonly count: number
  /** Where they belong, as in {@link GatewaySetting}. */
  readonly upstream: string
}

const WORKING_SET = 100
const COPIED_AT_ONCE = 500

interface Opened {
  readonly store: CredentialStore
  readonly count: number
  readonly records: Records
  readonly live: (user: string) => Promise<unknown>
  /** Where `in turn` has come to. */
  turn: number
}

const opened = new Map<number, Opened>()

/** @returns the heap's growth for each connection, in bytes */
async function open(kind: StoreKind, url: string, population: Population): Promise<number> {
  const { count, upstream } = population
  const before = await memoryInUse()
  const store = await openStore(kind, url, population)
  const after = await memoryInUse()
  const config = resolveOptions({
    baseUrl: 'http://127.0.0.1:1',
    servers: { [SERVER]: `${upstream}/mcp` },
    user: () => undefined,
    encryptionKey: ENCRYPTION_KEY,
    store,
  })
  const { context } = createContext(config)
  const [server] = config.servers ?? []
  if (server === undefined) throw new Error('There is no server.')
  opened.set(count, {
    store,
    count,
    records: createRecords(store, sealer),
    live: (user) => liveConnection(context, server, user),
    turn: 0,
  })
  return (after.heap - before.heap) / count
}

async function openStore(
  kind: StoreKind,
  url: string,
  { path, count }: Population,
): Promise<CredentialStore> {
  if (kind === 'JSON file') {
    const copy = join(temporaryDirectory(), 'store.json')
    copyFileSync(path, copy)
    return openFile(copy)
  }
  const store = await emptyStore(kind, url, `bench_${count}`)
  await copyRecords(path, store)
  return store
}

async function emptyStore(
  kind: Exclude<StoreKind, 'JSON file'>,
  url: string,
  name: string,
): Promise<CredentialStore> {
  switch (kind) {
    case 'memory':
      return memoryStore()
    case 'Postgres':
      return postgresStore({ pool: new Pool({ connectionString: url }), schema: name })
    case 'Redis':
      return redisStore({ client: await createClient({ url }).connect(), prefix: `${name}:` })
  }
}

/** As they are sealed. */
async function copyRecords(path: string, store: CredentialStore): Promise<void> {
  const file = openFile(path)
  const records = file.list('oauth_tokens')[Symbol.asyncIterator]()
  const worker = async (): Promise<void> => {
    for (;;) {
      const next = await records.next()
      if (next.done === true) return
      await store.compareAndSet('oauth_tokens', next.value.key, undefined, next.value.data)
    }
  }
  await Promise.all(Array.from({ length: COPIED_AT_ONCE }, worker))
  await file.close()
}

/** @returns the time for one, in microseconds */
async function lookUp(count: number, who: Who, times: number): Promise<number> {
  const population = populationOf(count)
  // Later rounds come round to those who stay open.
  if (who === 'in turn' && population.turn === 0 && count <= KEPT_OPEN)
    for (let n = 0; n < count; n++) await recall(population.records, userAt(n))
  let spent = 0
  for (let done = 0; done < times; done += WORKING_SET) {
    const users = usersOf(population, who)
    const records = who === 'new' ? createRecords(population.store, sealer) : population.records
    spent += await timeOf(users, (user) => recall(records, user))
  }
  return (spent / times) * 1000
}

/** The whole of what a request waits for, of the same hundred people. @returns the time for one, in microseconds */
async function lookUpLive(count: number, times: number): Promise<number> {
  const population = populationOf(count)
  let spent = 0
  for (let done = 0; done < times; done += WORKING_SET)
    spent += await timeOf(usersOf(population, 'again'), population.live)
  return (spent / times) * 1000
}

async function timeOf(users: readonly string[], look: (user: string) => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  for (const user of users) if ((await look(user)) === undefined) throw new Error(`${user} was not found.`)
  return performance.now() - startedAt
}

function recall({ connections }: Records, user: string): Promise<unknown> {
  return connections.recall(connectionKey(user, SERVER), ({ status }) => status === 'connected')
}

function usersOf(population: Opened, who: Who): string[] {
  const { count } = population
  return Array.from({ length: WORKING_SET }, (_, n) => {
    if (who === 'in turn') return userAt(population.turn++ % count)
    if (who === 'again') return userAt(n * Math.floor(count / WORKING_SET))
    return userAt(Math.floor((n + Math.random()) * (count / WORKING_SET)))
  })
}

/** @returns what the heap grows by for each connection that was looked up, in bytes */
async function memoryOfRemembered(count: number, remembered: number): Promise<number> {
  const { store } = populationOf(count)
  const before = await memoryInUse()
  const records = createRecords(store, sealer)
  for (let n = 0; n < remembered; n++) await recall(records, userAt(n))
  const after = await memoryInUse()
  // Used once more, so that it was not garbage meanwhile.
  await recall(records, userAt(0))
  return (after.heap - before.heap) / remembered
}

function populationOf(count: number): Opened {
  const population = opened.get(count)
  if (population === undefined) throw new Error(`${count} connections have not been opened.`)
  return population
}

const orders = { open, lookUp, lookUpLive, memoryOfRemembered }

answerOrders(orders)
