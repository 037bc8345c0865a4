import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore, type McpDcrEvent } from '../../src/index.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { gate } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'
import { browserOf, connect, NOTES_PAGE, tokenRequests } from '../support/visit.js'

const OLD = 'an old key of more than 32 characters'
const NEW = 'a new key that has more than 32 characters'
const HOUR = 3_600_000

let world: World
let gateway: DcrGateway
let alice: Person
let directory: string
/** Opens once the records have been sealed anew. */
let resealed: ReturnType<typeof gate>

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  resealed = gate()
  world = await startWorld()
  await start(OLD)
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

async function start(encryptionKey: string | string[], port?: number): Promise<void> {
  const info = (message: string): void => {
    if (message.includes('sealed anew')) resealed.open()
  }
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ encryptionKey, logger: { info, warn: () => undefined, error: () => undefined } }),
    directory,
    ...(port !== undefined && { port }),
  })
}

async function restart(encryptionKey: string | string[]): Promise<void> {
  const { port } = gateway
  await gateway.close()
  await start(encryptionKey, port)
}

it('rotates its key without a sign-in: the new one first, then the old one can go', async () => {
  await restart([NEW, OLD])
  expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  await resealed.opened
  await restart(NEW)
  expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  expect(world.authorizationServer.count('POST', '/token')).toBe(1)
})

it('finishes a sign-in that began under the old key', async () => {
  const bob = createPerson()
  bob.setCookie(gateway.url, 'user=bob; Path=/')
  const { location = '' } = await bob.open(`${gateway.url}/mcp/notes/page`)
  await restart([NEW, OLD])
  expect((await bob.signIn(location, { login: 'bob' })).status).toBe(200)
})

it('says how many records it has sealed anew when told to', async () => {
  await gateway.dcr.reseal()
  const before = readFileSync(gateway.storePath, 'utf8')
  expect(await gateway.dcr.reseal()).toEqual({ resealed: 0, unopened: {}, damaged: 0 })
  expect(readFileSync(gateway.storePath, 'utf8')).toBe(before)
})

describe('two instances on one store', () => {
  let now: number
  let store: CredentialStore
  let instances: [DcrGateway, DcrGateway]
  let url: string
  /** Each browser's requests go where it is told. */
  let hosts: Record<string, string>
  const people: Person[] = []
  const events: McpDcrEvent[] = []

  beforeEach(async () => {
    now = Date.now()
    people.length = 0
    events.length = 0
    hosts = {}
    url = ''
    const clock = (): number => now
    store = { ...memoryStore({ clock }), shared: true }
    const first = await startInstance(OLD)
    url = first.url
    instances = [first, await startInstance(OLD)]
    await signIn('bob', 0)
    await signIn('carol', 1)
  })

  afterEach(async () => {
    for (const instance of instances) await instance.close()
  })

  function startInstance(encryptionKey: string[] | string, port?: number): Promise<DcrGateway> {
    return startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: (own) => ({
        ...{ baseUrl: url || own, store, clock: () => now, encryptionKey },
        onEvent: (event) => void events.push(event),
      }),
      // They hold the same registrations.
      directory: join(directory, 'shared'),
      ...(port !== undefined && { port }),
    })
  }

  async function restartInstance(index: 0 | 1, encryptionKey: string[] | string): Promise<void> {
    const { port } = instances[index]
    await instances[index].close()
    instances[index] = await startInstance(encryptionKey, port)
  }

  const goTo = (index: 0 | 1): void => void (hosts[url] = instances[index].url)

  async function signIn(user: string, index: 0 | 1): Promise<void> {
    goTo(index)
    people.push(await connect(user, url, { hosts }))
  }

  /** Both serve everybody, each with a token that the other one has refreshed; and finish each other's sign-ins. */
  async function expectAllServed(user: string): Promise<void> {
    for (const [one, other] of [
      [0, 1],
      [1, 0],
    ] as const) {
      now += HOUR
      for (const index of [one, other]) {
        goTo(index)
        for (const person of people) expect((await person.open(url + NOTES_PAGE)).status).toBe(200)
      }
      const newcomer = browserOf(`${user}-${one}`, url, { hosts })
      goTo(one)
      const { location = '' } = await newcomer.open(url + NOTES_PAGE)
      goTo(other)
      expect((await newcomer.signIn(location, { login: `${user}-${one}` })).status).toBe(200)
      people.push(newcomer)
    }
  }

  it('rotate their key one by one, and everybody is served by both at each step', async () => {
    const steps: [index: 0 | 1, keys: string[]][] = [
      [0, [OLD, NEW]],
      [1, [OLD, NEW]],
      [0, [NEW, OLD]],
      [1, [NEW, OLD]],
    ]
    for (const [n, [index, keys]] of steps.entries()) {
      await restartInstance(index, keys)
      await instances[index].dcr.reseal()
      await expectAllServed(`step${n}`)
    }
    expect(await instances[0].dcr.reseal()).toMatchObject({ unopened: {}, damaged: 0 })
    for (const index of [0, 1] as const) {
      await restartInstance(index, NEW)
      await expectAllServed(`last${index}`)
    }
    // Alice's, in a store of her own, is the first.
    expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
    expect(instances.flatMap(({ log }) => log).join('\n')).not.toMatch(
      /encryption_key_mismatch|does not open/,
    )
  })

  /** While the first waits for an answer of the authorization server, the second starts with a new key, and seals all anew. */
  function resealDuring(method: string, path: string): void {
    let isDone = false
    world.authorizationServer.intercept = async (_req, _res, request) => {
      if (isDone || request.method !== method || !request.path.startsWith(path)) return false
      isDone = true
      await restartInstance(1, [NEW, OLD])
      await instances[1].dcr.reseal()
      return false
    }
  }

  it.each([
    ['knows the new key', [OLD, NEW]],
    ['does not know the new key yet', [OLD]],
  ])('lose no rotated token where all is sealed anew during a refresh by one that %s', async (_, keys) => {
    await restartInstance(0, keys)
    goTo(0)
    const [bob] = people as [Person]
    resealDuring('POST', '/token')
    now += HOUR
    expect((await bob.open(url + NOTES_PAGE)).status).toBe(200)
    goTo(1)
    now += HOUR
    expect((await bob.open(url + NOTES_PAGE)).status).toBe(200)
    const refreshes = tokenRequests(world.authorizationServer, 'refresh_token')
    expect(refreshes.map(({ status }) => status)).toEqual([200, 200])
    expect(events.map(({ type }) => type)).toEqual([
      'registered',
      'connected',
      'connected',
      'refreshed',
      'refreshed',
    ])
  })

  it('disconnect a person where all is sealed anew meanwhile', async () => {
    await restartInstance(0, [OLD, NEW])
    resealDuring('POST', '/token/revocation')
    expect(await instances[0].dcr.disconnect('bob', 'notes')).toBe(true)
    expect(await instances[1].dcr.connections('bob')).toMatchObject([{ state: 'not_connected' }])
    expect(events.at(-1)).toMatchObject({ type: 'disconnected', user: 'bob' })
  })

  it('forget a server where all is sealed anew meanwhile', async () => {
    await restartInstance(0, [OLD, NEW])
    resealDuring('DELETE', '/reg/')
    await instances[0].dcr.forget('notes')
    expect(await instances[1].dcr.registrations.list()).toEqual([])
    expect(events.at(-1)).toMatchObject({ type: 'registration_deleted', server: 'notes' })
  })

  it('lose nothing where the new key comes first too early: the other fails until it has it as well', async () => {
    await restartInstance(0, [NEW, OLD])
    await instances[0].dcr.reseal()
    now += HOUR
    goTo(0)
    for (const person of people) expect((await person.open(url + NOTES_PAGE)).status).toBe(200)
    now += HOUR
    goTo(1)
    for (const person of people) {
      const { status, text } = await person.fetch(url + NOTES_PAGE)
      expect([status, JSON.parse(text)]).toMatchObject([500, { code: 'encryption_key_mismatch' }])
    }
    await restartInstance(1, [NEW, OLD])
    await expectAllServed('late')
    expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
  })
})
