import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore, type RegistrationInfo } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page, Person } from '../support/person.js'
import { issueInitialAccessToken, registrationPolicies, type Policy } from '../support/policies.js'
import { browserOf, connect, expectRefresh, NOTES_PAGE, tokenRequests } from '../support/visit.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR

let world: World
/** Two instances behind one URL, as a load balancer would have them, on one store. */
let instances: [DcrGateway, DcrGateway]
let url: string
/** The gateways' time; the authorization server has its own. */
let now: number
/** What the authorization server does to a client that changes (PUT). */
let onChange: Policy

/** Every secret lasts for 30 days from when it was given. */
const lasts: Policy = (_ctx, metadata) =>
  void (metadata.client_secret_expires_at = Math.floor((now + 30 * DAY) / 1000))

beforeEach(async () => {
  now = Date.now()
  onChange = () => undefined
  const policy: Policy = (ctx, metadata) => (ctx.method === 'PUT' ? onChange : lasts)(ctx, metadata)
  world = await startWorld({ authorizationServer: { configure: registrationPolicies({ policy }) } })
  const initialAccessToken = await issueInitialAccessToken(world.authorizationServer, ['policy'])
  const oauthConfig = { initialAccessToken, tokenEndpointAuthMethod: 'client_secret_basic' } as const
  const clock = (): number => now
  const store = { ...memoryStore({ clock }), shared: true }
  const start = (baseUrl?: string): Promise<DcrGateway> =>
    startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: (own) => ({
        servers: { notes: { url: world.mcpServer.url, oauthConfig } },
        baseUrl: baseUrl ?? own,
        store,
        clock,
        encryptionKey: 'one key of 32 characters or more for both',
      }),
    })
  const first = await start()
  url = first.url
  instances = [first, await start(url)]
})

afterEach(async () => {
  for (const instance of instances) await instance.close()
  await world.close()
})

/** A browser whose requests to the gateway the load balancer gives to this instance, until it is told otherwise. */
function at(instance: 0 | 1): { hosts: Record<string, string> } {
  return { hosts: { [url]: instances[instance].url } }
}

const registered = (): number => world.authorizationServer.count('POST', '/reg')
const replaced = (): number => world.authorizationServer.count('PUT', /^\/reg\//)
const refreshes = (person: Person): Promise<string> => expectRefresh(person, url, world.authorizationServer)
const clientIdIn = ({ location }: Page): string | null =>
  new URL(location ?? '', url).searchParams.get('client_id')

async function only(): Promise<RegistrationInfo> {
  const [registration, ...more] = await instances[0].dcr.registrations.list()
  expect(more).toEqual([])
  return registration as RegistrationInfo
}

describe('two instances on one store', () => {
  it('register one client for 2 × 25 first requests at the same time', async () => {
    const people = Array.from({ length: 50 }, (_, i) => browserOf(`user${i}`, url, at(i % 2 === 0 ? 0 : 1)))
    const pages = await Promise.all(people.map((person) => person.open(url + NOTES_PAGE)))
    const { clientId } = await only()
    expect(new Set(pages.map(clientIdIn))).toEqual(new Set([clientId]))
    expect([registered(), world.authorizationServer.registrations()]).toEqual([1, 1])
    for (const { requests } of instances) expect(requests).toHaveLength(25)
  })

  it('finish each other’s sign-ins, and serve the connection both', async () => {
    const balancer = at(0)
    const alice = browserOf('alice', url, balancer)
    const begun = await alice.open(url + NOTES_PAGE)
    Object.assign(balancer.hosts, at(1).hosts)
    const page = await alice.signIn(begun.location ?? '')
    expect([page.status, page.url]).toEqual([200, url + NOTES_PAGE])
    Object.assign(balancer.hosts, at(0).hosts)
    expect((await alice.open(url + NOTES_PAGE)).status).toBe(200)
    expect(instances.map((it) => it.count('GET', '/api/oauth/callback'))).toEqual([0, 1])
    expect(tokenRequests(world.authorizationServer, 'authorization_code')).toHaveLength(1)
  })

  it('renew a secret once, though both are asked for it by many, and both use it', async () => {
    onChange = async (ctx, metadata) => {
      metadata.client_secret = randomUUID()
      await lasts(ctx, metadata)
    }
    const users = ['alice', 'bob', 'carol', 'dave']
    const people = await Promise.all(users.map((user, i) => connect(user, url, at(i % 2 === 0 ? 0 : 1))))
    const { clientId } = await only()
    now += 29 * DAY
    const newcomers = ([0, 1] as const).map((it) => browserOf(`newcomer${it}`, url, at(it)))
    const pages = await Promise.all([...people, ...newcomers].map((it) => it.open(url + NOTES_PAGE)))
    expect(pages.map(({ status }) => status)).toEqual([200, 200, 200, 200, 302, 302])
    expect(pages.slice(4).map(clientIdIn)).toEqual([clientId, clientId])
    expect([replaced(), registered()]).toEqual([1, 1])
    now += HOUR
    for (const person of people) expect(await refreshes(person)).toBe(clientId)
    expect(replaced()).toBe(1)
  })

  it('register again once where a secret cannot be renewed, and both serve the former client too', async () => {
    const people = [await connect('alice', url, at(0)), await connect('bob', url, at(1))]
    const { clientId: former } = await only()
    now += 29 * DAY
    const newcomers = await Promise.all([connect('carol', url, at(0)), connect('dave', url, at(1))])
    expect([replaced(), registered(), world.authorizationServer.registrations()]).toEqual([1, 2, 2])
    for (const person of people) expect(await refreshes(person)).toBe(former)
    now += HOUR
    const latter = await Promise.all(newcomers.map((person) => person.open(url + NOTES_PAGE)))
    expect(latter.map(({ status }) => status)).toEqual([200, 200])
    expect(registered()).toBe(2)
  })

  it('offer to register again once in ten minutes, whichever is asked', async () => {
    const balancer = at(0)
    const alice = browserOf('alice', url, balancer)
    const registerAgain = (): Promise<Page> =>
      alice.fetch(`${url}/api/oauth/connections/notes/register`, { method: 'POST' })
    await alice.open(url + NOTES_PAGE)
    expect((await registerAgain()).status).toBe(200)
    await alice.open(url + NOTES_PAGE)
    Object.assign(balancer.hosts, at(1).hosts)
    expect((await registerAgain()).status).toBe(400)
    expect(registered()).toBe(2)
    now += 10 * 60_000
    await alice.open(url + NOTES_PAGE)
    expect((await registerAgain()).status).toBe(200)
  })

  it('renew by hand at the same time: one client, which both can manage and use', async () => {
    onChange = (_ctx, metadata) => void (metadata.client_secret = randomUUID())
    const [alice, bob] = [await connect('alice', url, at(0)), await connect('bob', url, at(1))]
    const { id, clientId } = await only()
    const renewed = await Promise.all(instances.map(({ dcr }) => dcr.registrations.renew(id)))
    expect(renewed.map((it) => it.clientId)).toEqual([clientId, clientId])
    for (const { dcr } of instances)
      expect((await dcr.registrations.read(id)).remote).toMatchObject({ client_id: clientId })
    now += HOUR
    for (const person of [alice, bob]) expect(await refreshes(person)).toBe(clientId)
    expect([registered(), world.authorizationServer.registrations()]).toEqual([1, 1])
  })

  it('refresh a token once, though both are asked for it by many', async () => {
    const balancer = at(0)
    const alice = await connect('alice', url, balancer)
    for (const { requests } of instances) requests.length = 0
    now += HOUR
    const asked: Promise<Page>[] = []
    for (let i = 0; i < 20; i++) {
      Object.assign(balancer.hosts, at(i % 2 === 0 ? 0 : 1).hosts)
      asked.push(alice.open(url + NOTES_PAGE))
    }
    const pages = await Promise.all(asked)
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([200]))
    expect(instances.map((it) => it.count('GET', NOTES_PAGE))).toEqual([10, 10])
    expect(tokenRequests(world.authorizationServer, 'refresh_token')).toMatchObject([{ status: 200 }])
  })
})
