import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startKeycloakWorld, type KeycloakWorld } from './world.js'

let world: KeycloakWorld

beforeEach(async () => {
  world = await startKeycloakWorld()
  await world.realm.setPolicy('anonymous', 'trusted-hosts', undefined)
  await world.startGateway()
})

afterEach(() => world.close())

/** Five minutes is how long a new realm's access tokens live. */
const expireAccessTokens = () => void (world.now += 5 * 60_000)

async function onlyRegistration() {
  const [registration, ...others] = await world.gateway.dcr.registrations.list()
  expect(others).toEqual([])
  return registration!
}

async function state() {
  const [connection] = await world.gateway.dcr.connections('alice')
  return connection?.state
}

describe('a connection', () => {
  it('is refreshed, each time with the refresh token that came last', async () => {
    await world.realm.update({ revokeRefreshToken: true, refreshTokenMaxReuse: 0 })
    await world.signIn()
    for (const _ of [1, 2, 3]) {
      expireAccessTokens()
      expect(await world.whoami()).toBe(world.realm.alice)
    }
    expect(world.gateway.log.join('\n')).not.toContain('refresh refused')
  })

  it('outlives a restart of the gateway, and needs no second client after it', async () => {
    await world.signIn()
    const { port } = world.gateway
    const { clientId } = await onlyRegistration()
    await world.gateway.close()
    await world.startGateway({}, port)
    expireAccessTokens()
    expect(await world.whoami()).toBe(world.realm.alice)
    await world.signIn()
    expect((await onlyRegistration()).clientId).toBe(clientId)
  })

  it('is revoked on disconnecting (RFC 7009): the session at Keycloak is over', async () => {
    await world.signIn()
    expect(await world.realm.sessions()).toBe(1)
    expect(await world.gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect(await state()).toBe('not_connected')
    expect(await world.realm.sessions()).toBe(0)
  })

  it('needs a new sign-in where Keycloak has ended the session', async () => {
    await world.signIn()
    await world.realm.logOutEverybody()
    expireAccessTokens()
    await expect(world.whoami()).rejects.toThrow()
    expect(await state()).toBe('needs_authorization')
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })
})

describe('a registration (RFC 7592)', () => {
  it('is read, again and again, by a token that a GET does not rotate', async () => {
    await world.signIn()
    const { id } = await onlyRegistration()
    const report = await world.gateway.dcr.registrations.read(id)
    expect(report.remote).toMatchObject({
      client_name: 'MCP Gateway',
      token_endpoint_auth_method: 'client_secret_basic',
    })
    // It does not know application_type, and adds to response_types: it did so from the start.
    expect(report.drift).toEqual([])
    expect(await world.gateway.dcr.registrations.read(id)).toEqual(report)
  })

  it('is updated, again and again, by a token that each PUT rotates', async () => {
    await world.signIn()
    const { id } = await onlyRegistration()
    for (const client_name of ['Renamed', 'Renamed again']) {
      await world.gateway.dcr.registrations.update(id, { client_name })
      expect(await world.realm.clients()).toMatchObject([{ name: client_name }])
    }
    expireAccessTokens()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('moves to another redirect URI with the gateway, instead of leaving a client behind', async () => {
    await world.signIn()
    const { clientId } = await onlyRegistration()
    await world.gateway.close()
    await world.startGateway()
    await world.signIn()
    const redirectUri = `${world.gateway.url}/api/oauth/callback`
    expect(await onlyRegistration()).toMatchObject({ clientId, redirectUri })
    expect(await world.realm.clients()).toMatchObject([{ clientId, redirectUris: [redirectUri] }])
  })

  it('is deleted, and another one is registered at the next sign-in', async () => {
    await world.signIn()
    const { id, clientId } = await onlyRegistration()
    await world.gateway.dcr.registrations.delete(id)
    expect(await world.realm.clients()).toEqual([])
    await world.signIn()
    expect((await onlyRegistration()).clientId).not.toBe(clientId)
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('is deleted where the server is forgotten, and everybody’s session is over', async () => {
    await world.signIn()
    await world.gateway.dcr.forget('notes')
    expect([await world.realm.clients(), await world.realm.sessions()]).toEqual([[], 0])
    expect(await state()).toBe('not_connected')
  })

  it('is replaced once, where an administrator deleted the client: noticed at the refresh', async () => {
    await world.signIn()
    const { clientId } = await onlyRegistration()
    await world.realm.deleteClient(clientId ?? '')
    expireAccessTokens()
    await expect(world.whoami()).rejects.toThrow()
    expect((await onlyRegistration()).clientId).not.toBe(clientId)
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('is replaced where the deletion is noticed at an update', async () => {
    await world.signIn()
    const { id, clientId } = await onlyRegistration()
    await world.realm.deleteClient(clientId ?? '')
    const gone = { code: 'registration_gone' }
    await expect(world.gateway.dcr.registrations.read(id)).rejects.toMatchObject(gone)
    const renewed = await world.gateway.dcr.registrations.renew(id)
    expect(renewed.clientId).not.toBe(clientId)
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
    const former = (await world.gateway.dcr.registrations.list()).find((it) => it.clientId === clientId)
    expect(former?.managed).toBe(false)
    await world.gateway.dcr.registrations.delete(former?.id ?? '')
  })
})

describe('a secret', () => {
  const DAY = 86_400

  it('is renewed by a PUT where Keycloak’s policy has secrets expire', async () => {
    expect(world.realm.secretsCanExpire, 'start Keycloak with --features=client-secret-rotation').toBe(true)
    await world.realm.setSecretLifetime(10 * DAY, 10 * DAY)
    await world.signIn()
    const { id, clientId, clientSecretExpiresAt: first = 0 } = await onlyRegistration()
    expect(first).toBeGreaterThan(world.now / 1000 + 9 * DAY)
    const [before] = await world.realm.clients()
    const renewed = await world.gateway.dcr.registrations.renew(id)
    const [after] = await world.realm.clients()
    expect(after?.secret).not.toBe(before?.secret)
    expect(renewed).toMatchObject({ id, clientId })
    expireAccessTokens()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('is renewed by itself before it expires, and people stay connected', async () => {
    await world.realm.setSecretLifetime(10 * DAY, 10 * DAY)
    await world.signIn()
    const [before] = await world.realm.clients()
    world.now += 9.5 * DAY * 1000
    expect(await world.whoami()).toBe(world.realm.alice)
    const [after, ...others] = await world.realm.clients()
    expect(others).toEqual([])
    expect(after?.clientId).toBe(before?.clientId)
    expect(after?.secret).not.toBe(before?.secret)
  })

  it('that never expires is left as it is by a PUT: renewing registers another client', async () => {
    await world.signIn()
    const { id, clientId, clientSecretExpiresAt } = await onlyRegistration()
    expect(clientSecretExpiresAt).toBe(0)
    const renewed = await world.gateway.dcr.registrations.renew(id)
    expect(renewed.clientId).not.toBe(clientId)
    expireAccessTokens()
    // Under the former client, which is kept for that.
    expect(await world.whoami()).toBe(world.realm.alice)
  })
})
