import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { McpDcrError, memoryStore } from '../../src/index.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, connect, NOTES_PAGE } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let store: CredentialStore
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  store = { ...memoryStore(), shared: true }
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ store, clock: () => now, encryptionKey: 'a key of more than 32 characters for tests' }),
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

it('a shared store that is gone is asked once, then by probes alone: nobody else waits for it; then all goes on', async () => {
  const alice = await connect('alice', gateway.url)
  now += 2000
  const gone = new McpDcrError('store_unavailable', 'The database is gone.')
  const get = vi.spyOn(store, 'get').mockRejectedValue(gone)
  const set = vi.spyOn(store, 'compareAndSet').mockRejectedValue(gone)
  for (let n = 0; n < 5; n++) expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
  const { status, text } = await browserOf('bob', gateway.url).fetch(gateway.url + NOTES_PAGE)
  expect([status, JSON.parse(text)]).toEqual([
    503,
    expect.objectContaining({
      code: 'store_unavailable',
      detail: expect.stringContaining('tried again in the background every second') as string,
    }),
  ])
  expect(get.mock.calls.filter(([collection]) => collection === 'oauth_tokens')).toHaveLength(1)
  expect(set).not.toHaveBeenCalled()

  vi.restoreAllMocks()
  await vi.waitFor(() => expect(gateway.log.join('\n')).toContain('the store answers again'), 5000)
  await connect('bob', gateway.url)
})

it('a rotated token that a store could not save is saved when the gateway is closed, also while the store counts as gone', async () => {
  await connect('alice', gateway.url)
  const gone = new McpDcrError('store_unavailable', 'The database is gone.')
  world.authorizationServer.intercept = (_req, _res, { path }) => {
    if (path === '/token')
      for (const call of ['get', 'compareAndSet'] as const) vi.spyOn(store, call).mockRejectedValue(gone)
    return false
  }
  await expect(gateway.dcr.refresh('alice', 'notes')).rejects.toBe(gone)
  vi.restoreAllMocks()
  expect((await store.get('oauth_tokens', 'notes/alice'))?.data).toMatchObject({
    obtainedBy: 'authorization',
  })
  await gateway.dcr.close()
  expect((await store.get('oauth_tokens', 'notes/alice'))?.data).toMatchObject({ obtainedBy: 'refresh' })
})
