import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page } from '../support/person.js'
import { browserOf, connect, expectRefresh, NOTES_PAGE, tokenRequests } from '../support/visit.js'
import { BACKENDS, type Backend } from './backends.js'

const HOUR = 3_600_000

describe.each(Object.entries(BACKENDS))('a gateway on %s', (_name, createBackend) => {
  let backend: Backend
  let world: World
  let now: number
  let gateways: DcrGateway[]

  beforeEach(async () => {
    now = Date.now()
    gateways = []
    backend = createBackend()
    world = await startWorld()
  })

  afterEach(async () => {
    for (const gateway of gateways) await gateway.close()
    await world.close()
    await backend.remove()
  })

  /** @param of the gateway whose URL it has too, as behind a load balancer, or whose place it takes */
  async function start(of?: DcrGateway, port?: number): Promise<DcrGateway> {
    const store = await backend.open(() => now)
    const gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      ...(port !== undefined && { port }),
      options: (own) => ({
        baseUrl: of?.url ?? own,
        store,
        clock: () => now,
        encryptionKey: 'one key of 32 characters or more for all',
      }),
    })
    gateways.push(gateway)
    return gateway
  }

  it('signs a person in, keeps them over a restart, refreshes, and disconnects them', async () => {
    const first = await start()
    const alice = await connect('alice', first.url)
    await first.close()

    const second = await start(first, first.port)
    expect((await alice.open(first.url + NOTES_PAGE)).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    expect(world.authorizationServer.count('POST', '/token')).toBe(1)
    now += HOUR
    await expectRefresh(alice, first.url, world.authorizationServer)

    expect((await second.dcr.registrations.list()).map(({ status }) => status)).toEqual(['registered'])
    await second.dcr.disconnect('alice', 'notes')
    expect((await second.dcr.connections('alice'))[0]?.state).toBe('not_connected')
    expect((await alice.open(first.url + NOTES_PAGE)).status).toBe(302)
  })

  it('registers one client, and refreshes a token once, though two instances are asked at the same time', async () => {
    const first = await start()
    const hosts = { [first.url]: first.url }
    const instances = [first, await start(first)]
    const people = instances.map((it, i) =>
      browserOf(`user${i}`, first.url, { hosts: { [first.url]: it.url } }),
    )
    const begun = await Promise.all(people.map((person) => person.open(first.url + NOTES_PAGE)))
    expect(begun.map(({ status }) => status)).toEqual([302, 302])
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)

    const alice = await connect('alice', first.url, { hosts })
    now += HOUR
    const asked: Promise<Page>[] = []
    for (let i = 0; i < 20; i++) {
      hosts[first.url] = (instances[i % 2] as DcrGateway).url
      asked.push(alice.open(first.url + NOTES_PAGE))
    }
    expect(new Set((await Promise.all(asked)).map(({ status }) => status))).toEqual(new Set([200]))
    expect(tokenRequests(world.authorizationServer, 'refresh_token')).toMatchObject([{ status: 200 }])
  })
})
