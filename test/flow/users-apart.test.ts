import { afterEach, beforeEach, expect, it } from 'vitest'
import { decodeJwt } from 'jose'
import { startDcrGateway, userOf, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, NOTES_PAGE, tokenRequests } from '../support/visit.js'

const USERS = ['alice', 'bob', 'Alice', 'alice/notes', 'álice']

let world: World
let gateway: DcrGateway
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      clock: () => now,
      user: (req) => {
        const user = userOf(req)
        return user === undefined ? undefined : decodeURIComponent(user)
      },
    }),
    routes: (app, dcr) => {
      app.get('/fetched', async (req, res, next) => {
        try {
          res.send(await (await req.mcp.fetch(`${world.mcpServer.url}/page`)).text())
        } catch (error) {
          next(error)
        }
      })
      app.get('/fetched-for/:user', async (req, res, next) => {
        try {
          res.send(await (await dcr.fetch(req.params.user, 'notes')(`${world.mcpServer.url}/page`)).text())
        } catch (error) {
          next(error)
        }
      })
    },
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const cookie = (user: string): string => encodeURIComponent(user)

it('everybody’s requests carry their own token, all at once and through a refresh; who has none gets none (FIELD-NOTES 23)', async () => {
  const people = await Promise.all(
    USERS.map(async (user) => {
      const person = browserOf(cookie(user), gateway.url)
      expect(
        (await person.signIn(gateway.url + NOTES_PAGE, { login: `${user} at the provider` })).status,
      ).toBe(200)
      return { user, person }
    }),
  )
  for (const later of [0, 3_600_000]) {
    now += later
    world.mcpServer.requests.length = 0
    await Promise.all(
      people.flatMap(({ user, person }) =>
        [NOTES_PAGE, '/fetched', `/fetched-for/${cookie(user)}`].map(async (path) => {
          const page = await person.open(gateway.url + path)
          expect([page.status, page.text]).toEqual([
            200,
            expect.stringContaining(`You are ${user} at the provider`),
          ])
        }),
      ),
    )
  }
  expect(tokenRequests(world.authorizationServer, 'refresh_token')).toHaveLength(USERS.length)
  const subjects = world.mcpServer.requests.map(
    ({ authorization = '' }) => decodeJwt(authorization.slice(7)).sub,
  )
  expect(new Set(subjects)).toEqual(new Set(USERS.map((user) => `${user} at the provider`)))

  world.mcpServer.requests.length = 0
  const mallory = browserOf('mallory', gateway.url)
  for (const path of [NOTES_PAGE, '/fetched', '/fetched-for/mallory']) {
    expect((await mallory.fetch(gateway.url + path)).status).toBe(401)
  }
  const [nobody] = [await fetch(gateway.url + NOTES_PAGE)]
  expect(nobody.status).toBe(401)
  expect(world.mcpServer.requests.map(({ authorization }) => authorization)).toEqual(
    world.mcpServer.requests.map(() => undefined),
  )
})
