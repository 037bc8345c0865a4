import { afterEach, describe, expect, it } from 'vitest'
import { startKeycloakWorld, type KeycloakWorld } from './world.js'

let world: KeycloakWorld

afterEach(() => world.close())

async function startWith(...scopesSupported: string[]): Promise<void> {
  world = await startKeycloakWorld(scopesSupported)
  await world.realm.setPolicy('anonymous', 'trusted-hosts', undefined)
  await world.startGateway()
}

describe('a scope that a policy refuses in registration is left out of it', () => {
  it('openid, which every realm knows: the client may ask for what is left, and moves with the gateway', async () => {
    await startWith('openid', 'mcp:read')
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
    await world.gateway.close()
    await world.startGateway()
    await world.signIn()
    expect(await world.gateway.dcr.registrations.list()).toHaveLength(1)
  })

  it('one that the realm does not know', async () => {
    await startWith('mcp:read', 'unheard-of')
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })

  it('with an initial access token too, which a refusal does not use up', async () => {
    await startWith('openid', 'mcp:read')
    await world.gateway.close()
    await world.startGateway({ initialAccessToken: await world.realm.initialAccessToken(1) })
    await world.signIn()
    expect(await world.whoami()).toBe(world.realm.alice)
  })
})

it('a person who may not have offline tokens is told so', async () => {
  await startWith('mcp:read')
  await world.realm.denyOfflineTokens()
  const page = await world.tryToSignIn()
  expect([page.status, page.text]).toEqual([502, expect.stringContaining('Offline tokens not allowed')])
})
