import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/index.js'
import type { Collection, CredentialStore, StoredRecord } from '../../src/store/contract.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer, type Sealer } from '../../src/security/seal.js'
import { connectionKey, createRecords, type Records } from '../../src/store/records.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Page, Person } from '../support/person.js'
import { browserOf, connect, NOTES_PAGE, tokenRequests } from '../support/visit.js'

const KEY = 'a key of more than 32 characters, for tests'
const LOST = 'a lost key of more than 32 characters'
const sealerOf = (key: string): Sealer => createSealer(loadKeys({ keys: [key], keyFile: '', local: false }))
const LOST_ID = sealerOf(LOST).currentKeyId
const ALICE = connectionKey('alice', 'notes')
const SECOND = 1000

let world: World
let gateway: DcrGateway
let store: CredentialStore
let alice: Person
let bob: Person
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld({ authorizationServer: { accessTokenLifetime: 300 } })
  const clock = (): number => now
  store = { ...memoryStore({ clock }), shared: true }
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ store, clock, encryptionKey: KEY, admin: () => true }),
  })
  alice = await connect('alice', gateway.url)
  bob = await connect('bob', gateway.url)
  now += 2 * SECOND
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const open = (person: Person): Promise<Page> => person.open(gateway.url + NOTES_PAGE)
const revocations = (): number => world.authorizationServer.count('POST', '/token/revocation')

/** As if it had been sealed with a key that is lost. */
async function lose(collection: 'connections' | 'registrations', key: string): Promise<void> {
  const recordsOf = (sealedWith: string): Records['connections'] =>
    createRecords(store, sealerOf(sealedWith))[collection] as Records['connections']
  const held = (await recordsOf(KEY).get(key))!
  expect(await recordsOf(LOST).save(key, held, held.value)).toBe(true)
}

const loseAlice = (): Promise<void> => lose('connections', ALICE)

async function loseRegistration(): Promise<string> {
  const [{ key } = { key: '' }] = await stored('oauth_client_registrations')
  await lose('registrations', key)
  return key
}

async function stored(collection: Collection): Promise<(StoredRecord & { key: string })[]> {
  const all = []
  for await (const record of store.list(collection)) all.push(record)
  return all
}

function expectLostKey(status: number, text: string): void {
  expect([status, JSON.parse(text)]).toEqual([
    500,
    expect.objectContaining({
      code: 'encryption_key_mismatch',
      detail: expect.stringContaining(LOST_ID) as string,
    }),
  ])
}

describe('a connection whose key is lost', () => {
  beforeEach(loseAlice)

  it('fails requests with an error that names the key, and stays as it is; others are served', async () => {
    const before = await store.get('oauth_tokens', ALICE)
    const { status, text } = await alice.fetch(gateway.url + NOTES_PAGE)
    expectLostKey(status, text)
    expect(await store.get('oauth_tokens', ALICE)).toEqual(before)
    expect((await open(bob)).status).toBe(200)
  })

  it('needs a sign-in, as its state says with the reason, and the page beside all others', async () => {
    expect(await gateway.dcr.connections('alice')).toEqual([
      {
        server: 'notes',
        url: world.mcpServer.url,
        state: 'needs_authorization',
        reason: 'encryption_key_mismatch',
        fix: expect.stringContaining('OAUTH_ENCRYPTION_KEY=new,earlier') as string,
        connectedAt: expect.any(Number) as number,
      },
    ])
    expect((await alice.open(`${gateway.url}/api/oauth/connections`)).status).toBe(200)
    expect((await gateway.dcr.connections('bob'))[0]?.state).toBe('connected')
  })

  it('of another server that had this name says nothing', async () => {
    const own = await store.get('oauth_tokens', ALICE)
    const moved = { ...own?.data, serverUrl: 'https://elsewhere.example/mcp' }
    await store.compareAndSet('oauth_tokens', ALICE, own?.version, moved)
    expect((await gateway.dcr.connections('alice'))[0]?.state).toBe('not_connected')
  })

  it('is replaced by a new sign-in', async () => {
    const page = await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`, { login: 'alice' })
    expect(page.status).toBe(200)
    expect((await open(alice)).status).toBe(200)
    expect((await gateway.dcr.connections('alice'))[0]?.state).toBe('connected')
  })

  it('is deleted when it is disconnected, and the log says that nothing was revoked', async () => {
    expect(await gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect(await store.get('oauth_tokens', ALICE)).toBeUndefined()
    expect(revocations()).toBe(0)
    expect(gateway.log.join('\n')).toMatch(new RegExp(`warn .*nothing at its issuer.*${LOST_ID}`, 's'))
    expect((await open(alice)).status).toBe(302)
  })

  it('does not keep its server from being forgotten', async () => {
    await gateway.dcr.forget('notes')
    expect([await stored('oauth_tokens'), await stored('oauth_client_registrations')]).toEqual([[], []])
    // Bob's two tokens.
    expect(revocations()).toBe(2)
    expect(world.authorizationServer.registrations()).toBe(0)
  })
})

describe('a connection that was altered', () => {
  beforeEach(async () => {
    const bobs = (await store.get('oauth_tokens', connectionKey('bob', 'notes'))) as StoredRecord
    const own = await store.get('oauth_tokens', ALICE)
    const { accessToken } = bobs.data
    await store.compareAndSet('oauth_tokens', ALICE, own?.version, { ...own?.data, accessToken })
  })

  it('never works, says so, and is replaced by a new sign-in', async () => {
    const { status, text } = await alice.fetch(gateway.url + NOTES_PAGE)
    expect([status, JSON.parse(text)]).toEqual([500, expect.objectContaining({ code: 'store_corrupt' })])
    expect((await gateway.dcr.connections('alice'))[0]).toMatchObject({
      state: 'needs_authorization',
      reason: 'store_corrupt',
    })
    await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`, { login: 'alice' })
    expect((await open(alice)).status).toBe(200)
  })
})

describe('a registration whose key is lost', () => {
  let key: string
  let before: StoredRecord | undefined
  /** Somebody whose sign-in by it has not come back. */
  let dave: Person

  beforeEach(async () => {
    dave = browserOf('dave', gateway.url)
    await open(dave)
    key = await loseRegistration()
    before = await store.get('oauth_client_registrations', key)
  })

  /** Nobody else can: its registration access token is lost with the key. */
  const deleteAtIssuer = (): void => world.authorizationServer.forgetClient(String(before?.data.clientId))
  const untouched = async (): Promise<void> =>
    expect(await store.get('oauth_client_registrations', key)).toEqual(before)

  it('fails sign-ins with an error that names the key, and stays as it is', async () => {
    const carol = browserOf('carol', gateway.url)
    const { status, text } = await carol.fetch(gateway.url + NOTES_PAGE)
    expectLostKey(status, text)
    await untouched()
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it.each(['where it was', 'after it has moved'])(
    'fails refreshes likewise, once the token has expired, and the connection is kept: %s',
    async (place) => {
      if (place === 'after it has moved') {
        await store.delete('oauth_client_registrations', key)
        await store.compareAndSet('oauth_client_registrations', `${key}-moved`, undefined, before?.data ?? {})
      }
      now += 250 * SECOND
      expect((await open(alice)).status).toBe(200)
      now += 50 * SECOND
      const { status, text } = await alice.fetch(gateway.url + NOTES_PAGE)
      expectLostKey(status, text)
      expect(tokenRequests(world.authorizationServer, 'refresh_token')).toEqual([])
      expect((await store.get('oauth_tokens', ALICE))?.data).toMatchObject({ status: 'connected' })
      if (place === 'where it was') await untouched()
    },
  )

  it('leaves the page of connections as it was', async () => {
    const { status, text } = await dave.fetch(`${gateway.url}/api/oauth/connections`)
    expect([status, JSON.parse(text)]).toMatchObject([200, { connections: [{ unfinished: true }] }])
  })

  it('is listed all the same, can be deleted, and then a new one is made', async () => {
    const [registration, ...more] = await gateway.dcr.registrations.list()
    expect([registration?.server, registration?.managed, more]).toEqual(['notes', false, []])
    const id = registration?.id ?? ''
    await expect(gateway.dcr.registrations.read(id)).rejects.toThrow(LOST_ID)
    await expect(gateway.dcr.registrations.renew(id)).rejects.toThrow(LOST_ID)
    await untouched()
    await gateway.dcr.registrations.delete(id)
    expect(await stored('oauth_client_registrations')).toEqual([])
    await connect('carol', gateway.url)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
    deleteAtIssuer()
  })

  it('does not keep its server from being forgotten', async () => {
    await gateway.dcr.forget('notes')
    expect([await stored('oauth_tokens'), await stored('oauth_client_registrations')]).toEqual([[], []])
    deleteAtIssuer()
  })
})
