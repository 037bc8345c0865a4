import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig, RegistrationInfo } from '../../src/index.js'
import { callTool } from '../support/call-tool.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startMcpServer, type McpServer } from '../support/mcp-server.js'
import { createPerson, type Page, type Person } from '../support/person.js'
import { createRealm, type Realm } from './realm.js'
import { signInAtKeycloak } from './sign-in.js'

let realm: Realm
let mcpServer: McpServer
let gateway: DcrGateway
let alice: Person

/** What the gateway believes the time to be. */
let now: number

async function start(oauthConfig: OAuthConfig = {}, directory?: string): Promise<void> {
  now = Date.now()
  gateway = await startDcrGateway({
    servers: { notes: mcpServer.url },
    ...(directory !== undefined && { directory }),
    options: () => ({ servers: { notes: { url: mcpServer.url, oauthConfig } }, clock: () => now }),
  })
  alice = createPerson({ trustLoopback: true })
  alice.setCookie(gateway.url, 'user=alice; Path=/')
}

beforeEach(async () => {
  realm = await createRealm()
  const { issuer, jwks } = realm
  mcpServer = await startMcpServer({ issuer, jwks, tokenType: 'JWT', scopesSupported: ['mcp:read'] })
  await realm.addScope('mcp:read', mcpServer.resource)
})

afterEach(async () => {
  await gateway.close()
  await mcpServer.close()
  await realm.delete()
})

const signIn = (): Promise<Page> => signInAtKeycloak(alice, `${gateway.url}/api/oauth/authorize/notes`)

async function whoami(): Promise<string | undefined> {
  const called = await callTool(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } }, 'whoami')
  return called.text
}

/** Lets whoever calls from this machine register, as one would for a gateway's own host. */
const trustThisHost = (): Promise<void> =>
  realm.setPolicy('anonymous', 'trusted-hosts', {
    'trusted-hosts': ['localhost'],
    'host-sending-registration-request-must-match': ['false'],
  })

async function connect(oauthConfig: OAuthConfig = {}): Promise<RegistrationInfo> {
  await start(oauthConfig)
  expect((await signIn()).url).toBe(`${gateway.url}/api/oauth/connected/notes`)
  expect(await whoami()).toBe(realm.alice)
  const [registration, ...more] = await gateway.dcr.registrations.list()
  expect(more).toEqual([])
  return registration as RegistrationInfo
}

describe('registration', () => {
  it('that is anonymous is refused out of the box; the page says by which policy, and what to do', async () => {
    await start()
    const page = await signIn()
    expect(page.status).toBe(502)
    expect(page.text).toContain('rejected request to client-registration service. Details: Host not trusted.')
    expect(page.text).toContain('Anonymous access policies &gt; Trusted Hosts')
    expect([await realm.clients(), await gateway.dcr.registrations.list()]).toEqual([[], []])
  })

  it('that is anonymous works where the Trusted Hosts policy names the host', async () => {
    await trustThisHost()
    const { clientId } = await connect()
    expect((await realm.clients()).map((client) => client.clientId)).toEqual([clientId])
  })

  it('that is anonymous works without that policy', async () => {
    await realm.setPolicy('anonymous', 'trusted-hosts', undefined)
    await connect()
  })

  it.each(['a string', 'a function'])(
    'with an initial access token is subject to no policy: %s',
    async (form) => {
      const token = await realm.initialAccessToken(1)
      await connect({ initialAccessToken: form === 'a string' ? token : () => Promise.resolve(token) })
      // It was good for one client.
      await gateway.dcr.forget('notes')
      const page = await signIn()
      expect([page.status, await realm.clients()]).toEqual([502, []])
      expect(page.text).not.toContain(token)
    },
  )
})

describe('a connection', () => {
  it('is refreshed', async () => {
    await trustThisHost()
    await connect()
    const [before] = await gateway.dcr.connections('alice')
    now = (before?.expiresAt ?? 0) - 30_000
    expect(await whoami()).toBe(realm.alice)
    const [after] = await gateway.dcr.connections('alice')
    expect(after?.state).toBe('connected')
    expect(after?.expiresAt).toBeGreaterThan(before?.expiresAt ?? 0)
  })

  it('is revoked when it is ended', async () => {
    await trustThisHost()
    await connect()
    expect(await gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect(gateway.log.join('\n')).not.toContain('could not be revoked')
  })
})

describe('management (RFC 7592)', () => {
  beforeEach(() => trustThisHost())

  it('reads, and updates each time with the rotated token', async () => {
    const { id } = await connect()
    const { drift } = await gateway.dcr.registrations.read(id)
    // It does not know the one, and adds to the other.
    expect(drift.map(({ member }) => member)).toEqual(['application_type', 'response_types'])
    for (const name of ['First name', 'Second name']) {
      await gateway.dcr.registrations.update(id, { client_name: name })
      expect((await realm.clients()).map((client) => client.name)).toEqual([name])
    }
    expect((await gateway.dcr.registrations.read(id)).remote).toMatchObject({ client_name: 'Second name' })
  })

  it('renews a secret that never expires by registering again, as a PUT leaves it; so too what was deleted in the console', async () => {
    const { id, clientId } = await connect()
    const renewed = await gateway.dcr.registrations.renew(id)
    expect([renewed.id, renewed.clientId === clientId]).toEqual([id, false])
    await realm.deleteClient(renewed.clientId ?? '')
    await expect(gateway.dcr.registrations.read(id)).rejects.toMatchObject({ code: 'registration_gone' })
    const again = await gateway.dcr.registrations.renew(id)
    // The first is kept for what was issued under it.
    const held = (await gateway.dcr.registrations.list()).map((it) => it.clientId)
    expect(held.sort()).toEqual([clientId, again.clientId].sort())
    expect((await realm.clients()).map((it) => it.clientId).sort()).toEqual(held)
    expect(await whoami()).toBe(realm.alice)
  })

  it('deletes', async () => {
    const { id } = await connect()
    await gateway.dcr.registrations.delete(id)
    expect([await realm.clients(), await gateway.dcr.registrations.list()]).toEqual([[], []])
  })

  it('registers again before a secret expires, as a PUT leaves that too', async () => {
    expect(realm.secretsCanExpire).toBe(true)
    await realm.setSecretLifetime(3600, 3599)
    const before = await connect({ tokenEndpointAuthMethod: 'client_secret_basic' })
    expect(before.clientSecretExpiresAt).toBeGreaterThan(now / 1000)
    now = (before.clientSecretExpiresAt ?? 0) * 1000 - 300_000
    await alice.open(`${gateway.url}/api/oauth/authorize/notes`)
    const held = (await gateway.dcr.registrations.list()).map(({ clientId }) => clientId)
    expect(held).toHaveLength(2)
    expect(held).toContain(before.clientId)
    expect((await realm.clients()).map(({ clientId }) => clientId).sort()).toEqual(held.sort())
  })

  it('follows a change of the redirect URI', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
    await start({}, directory)
    await signIn()
    const [before] = await gateway.dcr.registrations.list()
    await gateway.close()
    await start({}, directory)
    expect((await signIn()).url).toBe(`${gateway.url}/api/oauth/connected/notes`)
    expect((await gateway.dcr.registrations.list()).map(({ clientId }) => clientId)).toEqual([
      before?.clientId,
    ])
    expect((await realm.clients()).map(({ redirectUris }) => redirectUris)).toEqual([
      [`${gateway.url}/api/oauth/callback`],
    ])
    rmSync(directory, { recursive: true })
  })
})
