import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HANG_UP, SILENCE, status, type Reply } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let directory: string
let alice: Person
let now: number
/** What the authorization server has issued, in order. */
let issued: { refresh_token?: string; access_token?: string }[]

beforeEach(async () => {
  now = Date.now()
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  issued = []
  world = await startWorld()
  world.authorizationServer.provider.on('grant.success', ({ body }) => issued.push(body as object))
  await start()
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  expect((await alice.signIn(`${gateway.url}/mcp/notes/page`, { login: 'alice' })).status).toBe(200)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(timeout?: number): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now, ...(timeout !== undefined && { timeout }) }),
    directory,
  })
}

/** Puts an answer in the place of the provider's. */
function answer(method: string, path: string, reply: Reply): void {
  world.authorizationServer.intercept = (_req, res, request) => {
    const isMeant = request.method === method && request.path.startsWith(path)
    if (isMeant) reply(res, request)
    return isMeant
  }
}

const presented = (): unknown[] =>
  world.authorizationServer.requests
    .filter(({ path }) => path === '/token/revocation')
    .map(({ form }) => form.get('token'))

const state = async (): Promise<unknown> => (await gateway.dcr.connections('alice'))[0]?.state

it('leaves no token alive at the issuer, and forgetting the server no client (FIELD-NOTES 27)', async () => {
  const { RefreshToken, Client } = world.authorizationServer.provider
  const [{ refresh_token = '' } = {}] = issued
  const [{ clientId = '' } = {}] = await gateway.dcr.registrations.list()
  expect([await RefreshToken.find(refresh_token), await Client.find(clientId)]).not.toContain(undefined)
  await gateway.dcr.disconnect('alice', 'notes')
  expect(await RefreshToken.find(refresh_token)).toBeUndefined()
  expect(await Client.find(clientId)).toBeDefined()
  await gateway.dcr.forget('notes')
  expect(await Client.find(clientId)).toBeUndefined()
})

describe('a revocation endpoint that never answers', () => {
  beforeEach(async () => {
    await gateway.close()
    await start(500)
    answer('POST', '/token/revocation', SILENCE)
  })

  it('is waited for as long as the timeout option says; then the connection is deleted', async () => {
    expect(await gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect([presented().length, await state()]).toEqual([2, 'not_connected'])
    expect(gateway.log.filter((line) => /could not be revoked.* 500 ms/s.test(line))).toHaveLength(2)
  })

  it('does not keep a server from being forgotten, its registration deleted at the issuer', async () => {
    await gateway.dcr.forget('notes')
    expect([presented().length, await state()]).toEqual([2, 'not_connected'])
    expect([await gateway.dcr.registrations.list(), world.authorizationServer.registrations()]).toEqual([
      [],
      0,
    ])
  })
})

describe('forgetting a server whose registration cannot be deleted', () => {
  it.each([
    ['403', status(403), 'status 403'],
    ['404, though it can be read', status(404), 'there still'],
    ['405', status(405), 'status 405'],
    ['500', status(500), 'status 500'],
    ['nothing', HANG_UP, 'could not be reached'],
  ])('forgets it here all the same, and says so in the log: %s', async (_name, reply, says) => {
    const [{ clientId = '' } = {}] = await gateway.dcr.registrations.list()
    answer('DELETE', '/reg/', reply)
    await gateway.dcr.forget('notes')
    expect([await gateway.dcr.registrations.list(), await state()]).toEqual([[], 'not_connected'])
    const [warning, ...more] = gateway.log.filter((line) => line.startsWith('warn '))
    expect(more).toEqual([])
    for (const part of ['management_failed', 'DELETE', says, clientId]) expect(warning).toContain(part)
    expect(world.authorizationServer.registrations()).toBe(1)
    world.authorizationServer.forgetClient(clientId)
  })
})

describe('disconnecting while a refresh is under way', () => {
  it('revokes the tokens that the refresh yields', async () => {
    let disconnected: Promise<boolean> | undefined
    world.authorizationServer.intercept = (_req, _res, { path }) => {
      if (path === '/token') disconnected ??= gateway.dcr.disconnect('alice', 'notes')
      return false
    }
    now += 3600_000
    await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(await disconnected).toBe(true)
    const [, refreshed, ...more] = issued
    expect(more).toEqual([])
    expect(presented()).toEqual([refreshed?.refresh_token, refreshed?.access_token])
    expect(await state()).toBe('not_connected')
  })
})
