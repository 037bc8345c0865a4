import { afterEach, beforeEach, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

async function connect(login: string): Promise<Person> {
  const person = createPerson()
  person.setCookie(gateway.url, `user=${login}; Path=/`)
  expect((await person.signIn(`${gateway.url}/mcp/notes/page`, { login })).status).toBe(200)
  return person
}

it('a client that its server has dropped is registered again, once, and everybody signs in by that (FIELD-NOTES 1)', async () => {
  const people = [await connect('alice'), await connect('bob')]
  const [{ clientId = '' } = {}] = await gateway.dcr.registrations.list()
  world.authorizationServer.forgetClient(clientId)
  now += 3600_000
  for (const [i, person] of people.entries()) {
    const page = await person.signIn(`${gateway.url}/mcp/notes/page`, { login: ['alice', 'bob'][i] ?? '' })
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page`])
  }
  expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
  expect(world.authorizationServer.registrations()).toBe(1)
  const [again, ...more] = await gateway.dcr.registrations.list()
  expect(more).toEqual([])
  expect(again?.clientId).not.toBe(clientId)
})
