import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OAuthConfig } from '../../src/index.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { callTool } from '../support/call-tool.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { createPerson, type Person } from '../support/person.js'
import { AUTHORIZATION_PEERS, type AuthorizationPeer } from './authorization-peers.js'

describe.each(AUTHORIZATION_PEERS)('$name as authorization server', ({ start, authMethods }) => {
  let peer: AuthorizationPeer
  let gateway: DcrGateway
  let alice: Person
  let directory: string
  let now: number

  async function startGateway(oauthConfig: OAuthConfig = {}, port?: number): Promise<void> {
    gateway = await startDcrGateway({
      servers: { notes: peer.mcpUrl },
      options: () => ({ servers: { notes: { url: peer.mcpUrl, oauthConfig } }, clock: () => now }),
      directory,
      ...(port !== undefined && { port }),
    })
    alice = createPerson()
    alice.setCookie(gateway.url, 'user=alice; Path=/')
  }

  beforeEach(async () => {
    now = Date.now()
    directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
    peer = await start()
  })

  afterEach(async () => {
    await gateway.close()
    await peer.close()
    rmSync(directory, { recursive: true, force: true })
  })

  async function signIn(): Promise<void> {
    const page = await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/api/oauth/connected/notes`])
  }

  async function whoami(): Promise<string | undefined> {
    const called = await callTool(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } }, 'whoami')
    return called.text
  }

  async function expectToBeSentToSignIn(): Promise<void> {
    const program = await alice.fetch(`${gateway.url}/mcp/notes`, { method: 'POST' })
    expect([program.status, JSON.parse(program.text)]).toMatchObject([
      401,
      { code: 'authorization_required', authorizationUrl: `${gateway.url}/api/oauth/authorize/notes` },
    ])
  }

  function requests() {
    return {
      register: peer.count('register'),
      token: peer.count('token'),
      clients: peer.authMethodsOfClients().length,
    }
  }

  it('registers once, signs a person in, and calls a tool with their token', async () => {
    await startGateway()
    await expectToBeSentToSignIn()
    await signIn()
    expect(await whoami()).toBe(peer.alice)
    expect(requests()).toEqual({ register: 1, token: 1, clients: 1 })
  })

  it.each(authMethods)('authenticates by %s, and refreshes', async (tokenEndpointAuthMethod) => {
    await startGateway({ tokenEndpointAuthMethod })
    await signIn()
    now += 3600_000
    expect(await whoami()).toBe(peer.alice)
    expect(peer.authMethodsOfClients()).toEqual([tokenEndpointAuthMethod])
  })

  it('refreshes an expired token, each time with the refresh token that came last', async () => {
    await startGateway()
    await signIn()
    for (const token of [2, 3]) {
      now += 3600_000
      expect(await whoami()).toBe(peer.alice)
      expect(requests()).toEqual({ register: 1, token, clients: 1 })
    }
  })

  it('keeps the connection over a restart of the gateway', async () => {
    await startGateway()
    await signIn()
    await gateway.close()
    await startGateway({}, gateway.port)
    expect(await whoami()).toBe(peer.alice)
    now += 3600_000
    expect(await whoami()).toBe(peer.alice)
    expect(requests()).toEqual({ register: 1, token: 2, clients: 1 })
  })

  it('registers anew, once, after the server has dropped the client', async () => {
    await startGateway()
    await signIn()
    peer.forgetClients()
    now += 3600_000
    await expectToBeSentToSignIn()
    await signIn()
    expect(await whoami()).toBe(peer.alice)
    expect(requests()).toEqual({ register: 2, token: 3, clients: 1 })
  })

  it.each(authMethods)('revokes the tokens on disconnecting, as a client with %s', async (method) => {
    await startGateway({ tokenEndpointAuthMethod: method })
    await signIn()
    expect(await gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect(gateway.log.filter((line) => line.includes('could not be revoked'))).toEqual([])
    expect([await gateway.dcr.connections('alice'), peer.count('revoke')]).toMatchObject([
      [{ state: 'not_connected' }],
      2,
    ])
    await signIn()
    expect(await whoami()).toBe(peer.alice)
    expect(requests()).toEqual({ register: 1, token: 2, clients: 1 })
  })

  it('says that its registrations cannot be managed, and renews one by registering again', async () => {
    await startGateway()
    await signIn()
    const [{ id = '', clientId, managed } = {}] = await gateway.dcr.registrations.list()
    expect(managed).toBe(false)
    await expect(gateway.dcr.registrations.read(id)).rejects.toMatchObject({
      code: 'management_not_supported',
    })
    expect((await gateway.dcr.registrations.renew(id)).clientId).not.toBe(clientId)
    now += 3600_000
    expect(await whoami()).toBe(peer.alice)
    expect(requests()).toEqual({ register: 2, token: 2, clients: 2 })
  })
})
