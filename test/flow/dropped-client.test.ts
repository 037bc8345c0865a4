import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Person } from '../support/person.js'
import { browserOf, connect as connectAt, NOTES_PAGE } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let directory: string
let now: number

beforeEach(async () => {
  now = Date.now()
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld()
  await start('A gateway')
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(clientName: string, port?: number): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clientName, clock: () => now }),
    directory,
    ...(port !== undefined && { port }),
  })
}

const connect = (login: string): Promise<Person> => connectAt(login, gateway.url)
const all = <T>(
  people: readonly Person[],
  work: (person: Person, login: string) => Promise<T>,
): Promise<T[]> => Promise.all(people.map((person, i) => work(person, NAMES[i] ?? '')))

/** Who takes part, in order. */
const NAMES = ['alice', 'bob', 'carol']

const heldIds = async (): Promise<string[]> =>
  (await gateway.dcr.registrations.list()).map(({ clientId = '' }) => clientId)

/** The provider loses every client that it has registered for the gateway. */
async function loseClients(): Promise<string[]> {
  const lost = await heldIds()
  for (const clientId of lost) world.authorizationServer.forgetClient(clientId)
  return lost
}

/** All of them sign in at the same time, by one client more. */
async function expectAllByAnother(people: readonly Person[], lost: readonly string[]): Promise<void> {
  const pages = await all(people, (person, login) => person.signIn(gateway.url + NOTES_PAGE, { login }))
  expect(pages.map(({ status, url }) => [status, url])).toEqual(
    people.map(() => [200, gateway.url + NOTES_PAGE]),
  )
  expect(world.authorizationServer.count('POST', '/reg')).toBe(lost.length + 1)
  const held = await heldIds()
  expect([held.length, held.some((clientId) => lost.includes(clientId))]).toEqual([1, false])
}

it('a client that its server has dropped is registered again, once, and everybody signs in by that (FIELD-NOTES 1)', async () => {
  const people = [await connect('alice'), await connect('bob')]
  const [clientId] = await loseClients()
  now += 3600_000
  for (const [i, person] of people.entries()) {
    const page = await person.signIn(gateway.url + NOTES_PAGE, { login: NAMES[i] ?? '' })
    expect([page.status, page.url]).toEqual([200, gateway.url + NOTES_PAGE])
  }
  expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
  expect(world.authorizationServer.registrations()).toBe(1)
  const [again, ...more] = await heldIds()
  expect(more).toEqual([])
  expect(again).not.toBe(clientId)
})

it('and also where several refresh at the same time, each of whom is refused', async () => {
  const people = [await connect('alice'), await connect('bob'), await connect('carol')]
  const lost = await loseClients()
  now += 3600_000
  const pages = await all(people, (person) => person.fetch(gateway.url + NOTES_PAGE))
  expect(pages.map(({ status }) => status)).toEqual([401, 401, 401])
  await expectAllByAnother(people, lost)
})

it('and also where several come back from the provider at the same time', async () => {
  const people = NAMES.map((name) => browserOf(name, gateway.url))
  const until = ({ pathname }: URL): boolean => pathname === '/api/oauth/callback'
  const pages = await all(people, (person, login) =>
    person.signIn(gateway.url + NOTES_PAGE, { login, until }),
  )
  const lost = await loseClients()
  const answers = await Promise.all(people.map((person, i) => person.open(pages[i]?.location ?? '')))
  for (const { text } of answers) expect(text).toContain('client_invalid')
  await expectAllByAnother(people, lost)
})

it('and also with the client that it had replaced, by which somebody is connected', async () => {
  const alice = await connect('alice')
  const [former = ''] = await heldIds()
  const client = await world.authorizationServer.provider.Client.find(former)
  Object.defineProperty(client, 'noManage', { value: true })
  await gateway.close()
  await start('Renamed', gateway.port)
  const people = [alice, await connect('bob')]
  const lost = await loseClients()
  expect(lost).toHaveLength(2)
  now += 3600_000
  for (const person of people) expect((await person.fetch(gateway.url + NOTES_PAGE)).status).toBe(401)
  await expectAllByAnother(people, lost)
})
