import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { memoryStore, type RegistrationInfo } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { holdTokenRequests } from '../support/hold-token-requests.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page, Person } from '../support/person.js'
import { issueInitialAccessToken, refuse, registrationPolicies, type Policy } from '../support/policies.js'
import { browserOf, connect, expectRefresh, NOTES_PAGE, tokenRequests } from '../support/visit.js'

const DAY = 24 * 3600
let world: World
let gateway: DcrGateway
let second: DcrGateway | undefined
let directory: string
let initialAccessToken: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  second = undefined
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2030, 0, 1) })
})
afterEach(async () => {
  await gateway.close()
  await second?.close()
  try {
    await world.close()
  } finally {
    vi.useRealTimers()
    rmSync(directory, { recursive: true })
  }
})

const clock = (): number => Date.now()
const pass = (seconds: number): void => void vi.setSystemTime(clock() + seconds * 1000)
const signIn = (user: string): Promise<Person> => connect(user, gateway.url, { clock })
const refreshes = (person: Person): Promise<string> =>
  expectRefresh(person, gateway.url, world.authorizationServer)
const registrations = (): Promise<RegistrationInfo[]> => gateway.dcr.registrations.list()

async function startManaged(onRegistration: Policy, onChange: Policy): Promise<void> {
  const policy: Policy = (ctx, metadata) => (ctx.method === 'PUT' ? onChange : onRegistration)(ctx, metadata)
  world = await startWorld({
    authorizationServer: {
      accessTokenLifetime: 60,
      configure: (configuration) => {
        Object.assign(configuration.ttl ?? {}, { RefreshToken: 90 * DAY, Grant: 90 * DAY })
        registrationPolicies({ policy })(configuration)
      },
    },
  })
  initialAccessToken = await issueInitialAccessToken(world.authorizationServer, ['policy'])
  await startGateway('A gateway')
}

async function startGateway(clientName: string, port?: number): Promise<void> {
  const { url } = world.mcpServer
  const oauthConfig = { initialAccessToken, tokenEndpointAuthMethod: 'client_secret_basic' } as const
  gateway = await startDcrGateway({
    servers: { notes: url },
    directory,
    options: () => ({ clientName, clock, servers: { notes: { url, oauthConfig } } }),
    ...(port !== undefined && { port }),
  })
}

const lasts: Policy = (_ctx, metadata) => void (metadata.client_secret_expires_at = clock() / 1000 + 30 * DAY)
const renews: Policy = (ctx, metadata) => {
  metadata.client_secret = randomUUID()
  return lasts(ctx, metadata)
}

describe('an issuer that lets a client be read but not changed (oidc-provider without registrationManagement)', () => {
  async function start(clientName: string, port?: number): Promise<void> {
    gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      directory,
      options: () => ({ clientName, clock }),
      ...(port !== undefined && { port }),
    })
  }
  beforeEach(async () => {
    world = await startWorld({
      authorizationServer: {
        accessTokenLifetime: 60,
        configure: ({ features = {} }) => void (features.registrationManagement = { enabled: false }),
      },
    })
    await start('A gateway')
  })

  it('a change registers again; what was issued under the former client still refreshes', async () => {
    const alice = await signIn('alice')
    const [former] = await registrations()
    await gateway.close()
    await start('Renamed', gateway.port)
    await signIn('bob')
    pass(60)
    expect(await refreshes(alice)).toBe(former?.clientId)
  })

  it('is not deleted here where it is still there', async () => {
    await signIn('alice')
    const [{ id } = { id: '' }] = await registrations()
    await gateway.dcr.registrations.delete(id).catch(() => undefined)
    expect(await registrations()).toHaveLength(world.authorizationServer.registrations())
  })
})

describe('a secret that is renewed while it is in use', () => {
  async function whileATokenRequestIsUnderWay<T>(start: () => Promise<T>): Promise<T> {
    const [{ id } = { id: '' }] = await registrations()
    const { arrived, answer } = holdTokenRequests(world.authorizationServer)
    const result = start()
    await arrived
    await gateway.dcr.registrations.renew(id)
    answer()
    return result
  }

  it('by a refresh: that is repeated with the new one, and nobody loses anything', async () => {
    await startManaged(lasts, renews)
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    const [before] = await registrations()
    pass(60)
    const page = await whileATokenRequestIsUnderWay(() => alice.open(gateway.url + NOTES_PAGE))
    expect(page.status).toBe(200)
    expect((await registrations()).map(({ clientId }) => clientId)).toEqual([before?.clientId])
    expect(await refreshes(bob)).toBe(before?.clientId)
  })

  it('by a sign-in: the renewed registration stays', async () => {
    await startManaged(lasts, renews)
    const bob = await signIn('bob')
    const [before] = await registrations()
    const alice = browserOf('alice', gateway.url, { clock })
    await whileATokenRequestIsUnderWay(() => alice.signIn(gateway.url + NOTES_PAGE))
    expect((await registrations()).map(({ clientId }) => clientId)).toEqual([before?.clientId])
    pass(60)
    expect(await refreshes(bob)).toBe(before?.clientId)
  })
})

describe('a secret that cannot be renewed', () => {
  it('leaves no client behind at its issuer when it has expired', async () => {
    await startManaged(lasts, () => undefined)
    const alice = await signIn('alice')
    pass(31 * DAY)
    expect((await alice.signIn(gateway.url + NOTES_PAGE)).status).toBe(200)
    expect(await registrations()).toHaveLength(world.authorizationServer.registrations())
  })

  it('is not asked to be renewed at every refresh of its last day', async () => {
    await startManaged(lasts, () => undefined)
    const alice = await signIn('alice')
    pass(29 * DAY)
    for (let times = 0; times < 5; times++) {
      await refreshes(alice)
      pass(60)
    }
    expect(world.authorizationServer.count('PUT', /^\/reg\//)).toBe(1)
  })

  it('is used by new sign-ins too as long as it lasts where registering again is refused', async () => {
    await startManaged(lasts, () => undefined)
    await signIn('alice')
    await (await world.authorizationServer.provider.InitialAccessToken.find(initialAccessToken))?.destroy()
    pass(29 * DAY)
    await signIn('bob')
  })
})

it('a client that is out of date is used where it can neither be changed nor registered again', async () => {
  await startManaged(
    () => undefined,
    () => refuse('clients do not change here'),
  )
  await signIn('alice')
  await (await world.authorizationServer.provider.InitialAccessToken.find(initialAccessToken))?.destroy()
  await gateway.close()
  await startGateway('Renamed', gateway.port)
  await signIn('bob')
})

it('an answer to PUT that is lost, and its rotated token with it: what was issued before still refreshes', async () => {
  await startManaged(
    () => undefined,
    () => undefined,
  )
  const alice = await signIn('alice')
  await gateway.close()
  await startGateway('Renamed', gateway.port)
  world.authorizationServer.intercept = (req, res) => {
    if (req.method === 'PUT') res.end = (() => res.socket?.destroy()) as unknown as typeof res.end
    return false
  }
  await browserOf('bob', gateway.url, { clock }).open(gateway.url + NOTES_PAGE)
  world.authorizationServer.intercept = undefined
  await signIn('bob')
  pass(60)
  await refreshes(alice)
})

describe('two gateways of one process on one memoryStore()', () => {
  beforeEach(async () => {
    world = await startWorld({ authorizationServer: { accessTokenLifetime: 60 } })
    const store = memoryStore({ clock })
    const start = (baseUrl?: string): Promise<DcrGateway> =>
      startDcrGateway({
        servers: { notes: world.mcpServer.url },
        options: (own) => ({
          baseUrl: baseUrl ?? own,
          clock,
          store,
          encryptionKey: 'one key of 32 characters or more for both',
        }),
      })
    gateway = await start()
    second = await start(gateway.url)
  })

  it('register once', async () => {
    const pages = await Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        const hosts = { [gateway.url]: (i % 2 === 0 ? gateway : second)?.url ?? '' }
        return browserOf(`user${i}`, gateway.url, { clock, hosts }).open(gateway.url + NOTES_PAGE)
      }),
    )
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([302]))
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it('refresh once', async () => {
    const hosts: Record<string, string> = {}
    const alice = await connect('alice', gateway.url, { clock, hosts })
    pass(60)
    const asked: Promise<Page>[] = [alice.open(gateway.url + NOTES_PAGE)]
    hosts[gateway.url] = second?.url ?? ''
    asked.push(alice.open(gateway.url + NOTES_PAGE))
    await Promise.all(asked)
    expect(tokenRequests(world.authorizationServer, 'refresh_token').map(({ status }) => status)).toEqual([
      200,
    ])
  })
})
