import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startKeycloakWorld, type KeycloakWorld } from './world.js'

let world: KeycloakWorld

beforeEach(async () => {
  world = await startKeycloakWorld()
})

afterEach(() => world.close())

const TRUST_LOCALHOST = {
  'trusted-hosts': ['localhost'],
  // The sender's address is another where Keycloak runs in a container or elsewhere.
  'host-sending-registration-request-must-match': ['false'],
}

describe('anonymous registration', () => {
  it('is refused by the policies of a new realm; the page says by which one, and what to do', async () => {
    await world.startGateway()
    const page = await world.tryToSignIn()
    expect(page.status).toBe(502)
    expect(page.text).toContain('Trusted Hosts')
    expect(page.text).toContain('oauthConfig.initialAccessToken')
    expect(page.text).toContain(`${world.gateway.url}/api/oauth/callback`)
    const program = await world.alice.fetch(`${world.gateway.url}/mcp/notes`, { method: 'POST' })
    expect([program.status, JSON.parse(program.text)]).toMatchObject([
      502,
      { code: 'registration_failed', detail: expect.stringContaining('Trusted Hosts') as string },
    ])
    expect(await world.gateway.dcr.registrations.list()).toEqual([])
  })

  it('works once the Trusted Hosts policy has the gateway’s host, without a restart', async () => {
    await world.startGateway()
    expect((await world.tryToSignIn()).status).toBe(502)
    await world.realm.setPolicy('anonymous', 'trusted-hosts', TRUST_LOCALHOST)
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('works where that policy is removed', async () => {
    await world.realm.setPolicy('anonymous', 'trusted-hosts', undefined)
    await world.startGateway()
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
    expect(await world.gateway.dcr.registrations.list()).toMatchObject([
      { issuer: world.realm.issuer, tokenEndpointAuthMethod: 'client_secret_basic', managed: true },
    ])
  })

  it('asks for a public client where it is configured so', async () => {
    await world.realm.setPolicy('anonymous', 'trusted-hosts', TRUST_LOCALHOST)
    await world.startGateway({ tokenEndpointAuthMethod: 'none' })
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
    expect(await world.realm.clients()).toMatchObject([{ publicClient: true }])
  })

  it('is refused once the realm has as many clients as it may have', async () => {
    await world.realm.setPolicy('anonymous', 'trusted-hosts', TRUST_LOCALHOST)
    await world.realm.setPolicy('anonymous', 'max-clients', { 'max-clients': ['1'] })
    await world.startGateway()
    const page = await world.tryToSignIn()
    expect([page.status, page.text]).toEqual([502, expect.stringContaining('Max Clients')])
  })
})

describe('registration with an initial access token', () => {
  it('passes the policies for anonymous access', async () => {
    await world.startGateway({ initialAccessToken: await world.realm.initialAccessToken(1) })
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('takes the token from a function, asked anew for each registration', async () => {
    let asked = 0
    await world.startGateway({
      initialAccessToken: async () => {
        asked++
        return world.realm.initialAccessToken(1)
      },
    })
    await world.signIn()
    const [registration] = await world.gateway.dcr.registrations.list()
    await world.gateway.dcr.registrations.delete(registration?.id ?? '')
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
    expect(asked).toBe(2)
  })

  it('says so where the token is spent, and never shows it', async () => {
    const initialAccessToken = await world.realm.initialAccessToken(1)
    await world.startGateway({ initialAccessToken })
    await world.signIn()
    await world.gateway.dcr.forget('notes')
    const page = await world.tryToSignIn()
    expect([page.status, page.text]).toEqual([
      502,
      expect.stringContaining('No remaining count on initial access token'),
    ])
    expect(page.text + world.gateway.log.join('\n')).not.toContain(initialAccessToken)
  })
})
