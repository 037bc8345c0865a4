import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startLine, type Line } from '../shared-stores/cut-line.js'
import { startPostgres } from '../shared-stores/start-postgres.js'
import { startRedis } from '../shared-stores/start-redis.js'
import type { RunningServer } from '../shared-stores/start-server.js'
import { gate } from '../store/support.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson } from '../support/person.js'
import { figure } from './figures.js'
import type { Answer, Order } from './instance.js'

const HOUR = 3600_000
/** Milliseconds, the default. */
const STORE_TIMEOUT = 5000
const USERS = Array.from({ length: 200 }, (_, n) => `user${n}`)

interface Instance {
  readonly child: ChildProcess
  readonly url: string
  tell(order: Order): Promise<Answer>
}

describe.each([
  ['Postgres', startPostgres],
  ['Redis', () => startRedis()],
])('four gateways on one %s', (name, startStore) => {
  let store: RunningServer
  let line: Line
  let world: World
  let instances: Instance[]
  /** How far their clocks are ahead: each scenario begins with tokens that have expired. */
  let ahead = 0

  beforeAll(async () => {
    store = await startStore()
    line = await startLine(store.url)
    world = await startWorld({ authorizationServer: { ownClients: true, rotateRefreshTokens: true } })
    const first = await startInstance(undefined)
    instances = [first, ...(await Promise.all([1, 2, 3].map(() => startInstance(first.url))))]
    for (const user of USERS) await signIn(user)
  })

  afterAll(async () => {
    for (const { child } of instances) child.kill('SIGKILL')
    await world.close()
    await line.close()
    await store.stop()
  })

  afterEach(() => {
    world.authorizationServer.intercept = undefined
  })

  async function startInstance(baseUrl: string | undefined, timeout = 30_000): Promise<Instance> {
    const child = fork(fileURLToPath(new URL('./instance.ts', import.meta.url)), {
      execArgv: ['--import', 'tsx'],
    })
    const died = once(child, 'exit').then(() => 'died' as const)
    const tell = async (order: Order): Promise<Answer> => {
      const answered = new Promise<Answer>((resolve) => child.once('message', resolve))
      child.send(order)
      const answer = await Promise.race([answered, died])
      if (answer === 'died') throw new Error('the instance has died')
      return answer
    }
    const encryptionKey = 'a key of more than 32 characters, for tests'
    const mcpServer = world.mcpServer.url
    const store = { storeUrl: line.url, storeTimeout: STORE_TIMEOUT }
    const setting = { ...store, mcpServer, baseUrl, encryptionKey, timeout }
    const { url } = await tell({ do: 'start', setting })
    return { child, url, tell }
  }

  async function signIn(user: string): Promise<number> {
    const person = createPerson()
    person.setCookie(instances[0]?.url ?? '', `user=${user}; Path=/`)
    return (await person.signIn(`${instances[0]?.url}/mcp/notes/page`, { login: user })).status
  }

  async function expireAll(): Promise<void> {
    ahead += 2 * HOUR
    await Promise.all(instances.map(({ tell }) => tell({ do: 'set clock', ahead })))
    world.authorizationServer.requests.length = 0
  }

  const refreshes = (): number => world.authorizationServer.count('POST', '/token')

  async function askAll(each: number): Promise<Answer[]> {
    return Promise.all(instances.map(({ tell }) => tell({ do: 'ask', users: USERS, each, atOnce: 50 })))
  }

  it('refresh each of 200 expired tokens once, fail no request, and have no family revoked', async () => {
    for (const round of [1, 2]) {
      await expireAll()
      const startedAt = performance.now()
      const answers = await askAll(3)
      for (const { failures, statuses } of answers)
        expect([failures, statuses]).toEqual([[], { 200: 3 * USERS.length }])
      expect(refreshes()).toBe(USERS.length)
      figure(
        `${name}: 4 instances, 200 users with an expired rotating token, 50 requests at once each, round ${round}`,
        {
          requests: 4 * 3 * USERS.length,
          refreshes: refreshes(),
          failed: 0,
          'slowest, ms': Math.max(...answers.map(({ slowest }) => slowest)).toFixed(0),
          seconds: ((performance.now() - startedAt) / 1000).toFixed(1),
        },
      )
    }
  })

  it('keep those who are connected served while the store is gone, say so of all else, and recover', async () => {
    // Everything that is known is known to everyone.
    await askAll(1)
    line.freeze()
    world.authorizationServer.requests.length = 0
    // Each instance finds out once that the store is gone, and from then on does not wait for it.
    const whenNoticed = await askAll(2)
    await line.cut()
    const after = await askAll(2)
    for (const { failures, statuses } of [...whenNoticed, ...after])
      expect([failures, statuses]).toEqual([[], { 200: 2 * USERS.length }])
    const slowestAfter = Math.max(...after.map(({ slowest }) => slowest))
    const medians = whenNoticed.map(({ median }) => median)
    expect(Math.max(...medians)).toBeLessThan(STORE_TIMEOUT / 2)
    expect(slowestAfter).toBeLessThan(STORE_TIMEOUT)
    expect(refreshes()).toBe(0)
    expect(await signIn('somebody new')).toBe(503)
    await line.mend()
    const mendedAt = performance.now()
    // The store's client connects again by itself, some seconds later at most; until then, people are told so.
    let status: number
    do status = await signIn('somebody else')
    while (status === 503)
    expect(status).toBe(200)
    // Each finds out by itself.
    await Promise.all(
      instances.map(async ({ tell }) => {
        let answer: Answer
        do answer = await tell({ do: 'ask', users: ['nobody'], each: 1, atOnce: 1 })
        while (answer.statuses['503'] !== undefined)
      }),
    )
    const recovery = performance.now() - mendedAt
    await expireAll()
    for (const { failures, statuses } of await askAll(1))
      expect([failures, statuses]).toEqual([[], { 200: USERS.length }])
    expect(refreshes()).toBe(USERS.length)
    figure(`${name}: the store gone, its timeout ${STORE_TIMEOUT} ms, 50 requests at once each`, {
      requests: 2 * 4 * 2 * USERS.length,
      failed: 0,
      'median while it is noticed, ms': Math.max(...medians).toFixed(0),
      'slowest while it is noticed, ms': Math.max(...whenNoticed.map(({ slowest }) => slowest)).toFixed(0),
      'slowest afterwards, ms': slowestAfter.toFixed(0),
      'all work after it is back, s': (recovery / 1000).toFixed(1),
    })
  })

  it('go on after one that is killed while it holds a lease', async () => {
    const { url } = instances[0] as Instance
    const three = await Promise.all([1, 2, 3].map(() => startInstance(url, 10_000)))
    instances.push(...three)
    await expireAll()
    const { opened, open } = gate()
    world.authorizationServer.intercept = (_req, _res, { path }) => {
      if (path !== '/token') return false
      // Never answered, and never carried out.
      open()
      return true
    }
    const [killed, ...others] = three as [Instance, ...Instance[]]
    const unanswered = killed.tell({ do: 'ask', users: ['user0'], each: 1, atOnce: 1 })
    await opened
    killed.child.kill('SIGKILL')
    await expect(unanswered).rejects.toThrow('died')
    world.authorizationServer.intercept = undefined
    world.authorizationServer.requests.length = 0
    const startedAt = performance.now()
    const served: number[] = []
    await Promise.all(
      others.map(async ({ tell }) => {
        // Until then, each request is told in time to try again.
        let answer: Answer
        do answer = await tell({ do: 'ask', users: ['user0'], each: 20, atOnce: 20 })
        while (answer.failures.every((it) => it.includes('refresh_failed')) && answer.statuses['200'] !== 20)
        expect(answer.statuses).toEqual({ 200: 20 })
        served.push(performance.now() - startedAt)
      }),
    )
    expect(refreshes()).toBe(1)
    figure(`${name}: an instance killed while it holds a lease of 15 s`, {
      'the others are served after, s': (Math.max(...served) / 1000).toFixed(1),
    })
  })
})
