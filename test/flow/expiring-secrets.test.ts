import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RegistrationInfo } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Person } from '../support/person.js'
import { issueInitialAccessToken, registrationPolicies, type Policy } from '../support/policies.js'
import { connect, expectRefresh } from '../support/visit.js'

const HOUR = 3600
const DAY = 24 * HOUR

/** After this many seconds every access token has expired, and is refreshed at its next use. */
const ACCESS_TOKEN_LIFETIME = 60

let world: World
let gateway: DcrGateway

// oidc-provider and its tokens know the time by Date alone. It stands still, for it, the MCP server and the gateway.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2030, 0, 1) }))
afterEach(async () => {
  await gateway.close()
  await world.close()
  vi.useRealTimers()
})

const clock = (): number => Date.now()
const pass = (seconds: number): void => void vi.setSystemTime(clock() + Math.round(seconds * 1000))

/** To oidc-provider a secret lasts for ever, and a change (PUT) leaves it as it is: what else happens is a policy's doing. */
const lasts =
  (seconds: number): Policy =>
  (_ctx, metadata) =>
    void (metadata.client_secret_expires_at = clock() / 1000 + seconds)
const isAnother: Policy = (_ctx, metadata) => void (metadata.client_secret = randomUUID())
const both =
  (...policies: Policy[]): Policy =>
  async (ctx, metadata) => {
    for (const policy of policies) await policy(ctx, metadata)
  }

/** @param onChange the policy for what is registered already; undefined: the secret stays as it is */
async function start(onRegistration: Policy, onChange: Policy = () => undefined): Promise<void> {
  world = await startWorld({
    authorizationServer: {
      accessTokenLifetime: ACCESS_TOKEN_LIFETIME,
      configure: (configuration) => {
        Object.assign(configuration.ttl ?? {}, { RefreshToken: 90 * DAY, Grant: 90 * DAY })
        registrationPolicies({
          onChange,
          onRegistration: async (ctx, metadata) => {
            await onRegistration(ctx, metadata)
            Object.assign(ctx.oidc.entities.RegistrationAccessToken ?? {}, { policies: ['onChange'] })
          },
        })(configuration)
      },
    },
  })
  const initialAccessToken = await issueInitialAccessToken(world.authorizationServer, ['onRegistration'])
  const { url } = world.mcpServer
  const oauthConfig = { initialAccessToken, tokenEndpointAuthMethod: 'client_secret_basic' } as const
  gateway = await startDcrGateway({
    servers: { notes: url },
    options: () => ({ servers: { notes: { url, oauthConfig } }, clock }),
  })
}

const signIn = (user: string): Promise<Person> => connect(user, gateway.url, { clock })
const refreshes = (person: Person): Promise<string> =>
  expectRefresh(person, gateway.url, world.authorizationServer)

const registered = (): number => world.authorizationServer.count('POST', '/reg')
const replaced = (): number => world.authorizationServer.count('PUT', /^\/reg\//)

async function only(): Promise<RegistrationInfo> {
  const [registration, ...more] = await gateway.dcr.registrations.list()
  expect(more).toEqual([])
  return registration as RegistrationInfo
}

async function secretAtIssuer(clientId = ''): Promise<string | undefined> {
  return (await world.authorizationServer.provider.Client.find(clientId))?.clientSecret
}

describe('a secret that expires, at an issuer that gives another one', () => {
  it.each([
    ['30 days', '24 hours', 30 * DAY, DAY],
    ['an hour', 'a tenth of that', HOUR, HOUR / 10],
  ])('after %s is renewed %s ahead and not earlier, for everybody', async (_of, _ahead, seconds, ahead) => {
    await start(lasts(seconds), both(isAnother, lasts(seconds)))
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    const { clientId } = await only()
    const secret = await secretAtIssuer(clientId)

    pass(seconds - ahead - 0.001)
    expect([await refreshes(alice), replaced()]).toEqual([clientId, 0])
    pass(0.001)
    expect([await refreshes(bob), replaced()]).toEqual([clientId, 1])
    expect(await secretAtIssuer(clientId)).not.toBe(secret)

    pass(ACCESS_TOKEN_LIFETIME)
    for (const person of [alice, bob]) expect(await refreshes(person)).toBe(clientId)
    await signIn('carol')
    expect([replaced(), registered()]).toEqual([1, 1])
    expect((await only()).clientSecretExpiresAt).toBe(clock() / 1000 - ACCESS_TOKEN_LIFETIME + seconds)

    // The next one's lifetime begins with its own birth.
    pass(seconds - ahead - ACCESS_TOKEN_LIFETIME - 0.001)
    expect([await refreshes(alice), replaced()]).toEqual([clientId, 1])
    pass(0.001)
    expect([await refreshes(bob), replaced()]).toEqual([clientId, 2])
  })

  it.each([
    ['a refresh', (alice: Person) => refreshes(alice)],
    ['a sign-in', () => signIn('carol')],
  ])('is renewed by %s also where it has expired unnoticed', async (_what, use) => {
    await start(lasts(30 * DAY), both(isAnother, lasts(30 * DAY)))
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    const { clientId } = await only()
    pass(40 * DAY)
    await use(alice)
    expect(await refreshes(bob)).toBe(clientId)
    expect([replaced(), registered()]).toEqual([1, 1])
  })
})

describe('a secret that expires, at an issuer that puts that off', () => {
  it('is renewed so, and stays the same', async () => {
    await start(lasts(30 * DAY), lasts(30 * DAY))
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    const { clientId } = await only()
    const secret = await secretAtIssuer(clientId)
    pass(29 * DAY)
    await signIn('carol')
    pass(2 * DAY)
    for (const person of [alice, bob]) expect(await refreshes(person)).toBe(clientId)
    expect([replaced(), registered(), await secretAtIssuer(clientId)]).toEqual([1, 1, secret])
  })
})

describe('a secret that expires, at an issuer that leaves it as it is', () => {
  it('is replaced by another registration at the next sign-in; all refresh by the client they have, to its last moment', async () => {
    await start(lasts(30 * DAY))
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    const { clientId: former } = await only()
    pass(29 * DAY)
    expect([await refreshes(bob), registered()]).toEqual([former, 1])
    const carol = await signIn('carol')
    await signIn('dave')
    expect(registered()).toBe(2)

    pass(DAY - 1)
    for (const person of [alice, bob]) expect(await refreshes(person)).toBe(former)
    const clients = (await gateway.dcr.registrations.list()).map(({ clientId }) => clientId)
    expect(clients).toEqual(expect.arrayContaining([former, await refreshes(carol)]))
    expect(clients).toHaveLength(2)
  })

  it('and is renewed by hand: registers again, and all refresh by the client they have', async () => {
    await start(lasts(30 * DAY))
    const alice = await signIn('alice')
    const { id, clientId: former } = await only()
    const { clientId: latter } = await gateway.dcr.registrations.renew(id)
    const bob = await signIn('bob')
    expect(latter).not.toBe(former)
    for (let times = 0; times < 2; times++) {
      pass(ACCESS_TOKEN_LIFETIME)
      expect([await refreshes(alice), await refreshes(bob)]).toEqual([former, latter])
    }
    expect(registered()).toBe(2)
  })
})
