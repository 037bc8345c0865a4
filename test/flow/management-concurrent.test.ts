import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Registrations } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let id: string
let clientId: string

beforeEach(async () => {
  world = await startWorld()
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url } })
  await fetch(`${gateway.url}/api/oauth/authorize/notes`, {
    headers: { 'x-user': 'alice' },
    redirect: 'manual',
  })
  const [registration] = await gateway.dcr.registrations.list()
  id = registration?.id ?? ''
  clientId = registration?.clientId ?? ''
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

/** Begins when the other's PUT has arrived, and before it is answered with another registration access token. */
async function meanwhile<A, B>(
  first: (registrations: Registrations) => Promise<A>,
  second: (registrations: Registrations) => Promise<B>,
): Promise<[A, B]> {
  let begun: Promise<B> | undefined
  world.authorizationServer.intercept = (_req, _res, { method }) => {
    if (method === 'PUT') begun ??= second(gateway.dcr.registrations)
    return false
  }
  return [await first(gateway.dcr.registrations), await (begun as Promise<B>)]
}

const managed = (method: string) =>
  world.authorizationServer.requests.filter((it) => it.method === method && it.path.startsWith('/reg/'))

describe('two at the same time, where each PUT rotates the registration access token', () => {
  const update = (registrations: Registrations) => registrations.update(id, { contacts: ['ops@example.com'] })
  const renew = (registrations: Registrations) => registrations.renew(id)

  it.each([
    ['an update and a renewal', update, renew],
    ['a renewal and an update', renew, update],
    ['two updates', update, update],
  ])('%s both succeed, the second by the rotated token', async (_name, first, second) => {
    const both = await meanwhile(first, second)
    expect(both.map((it) => it.clientId)).toEqual([clientId, clientId])
    const puts = managed('PUT')
    expect(puts.map((it) => it.status)).toEqual([200, 200])
    expect(new Set(puts.map((it) => it.authorization)).size).toBe(2)
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('an update and a read both succeed', async () => {
    const [, report] = await meanwhile(update, (registrations) => registrations.read(id))
    expect(report.remote).toMatchObject({ contacts: ['ops@example.com'] })
  })

  it('an update and a deletion both succeed', async () => {
    await meanwhile(update, (registrations) => registrations.delete(id))
    expect(managed('DELETE').map((it) => it.status)).toEqual([204])
    expect(await gateway.dcr.registrations.list()).toEqual([])
  })
})
