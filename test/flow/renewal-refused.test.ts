import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HANG_UP } from '../oauth/support.js'
import { startAuthorizationServer } from '../support/authorization-server.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let directory: string
let now: number
let id: string
/** A client that may not manage its record. */
let clientId: string

beforeEach(async () => {
  now = Date.now()
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld()
  await start('A gateway')
  const [registration] = await gateway.dcr.registrations.list()
  id = registration?.id ?? ''
  clientId = registration?.clientId ?? ''
  const client = await world.authorizationServer.provider.Client.find(clientId)
  Object.defineProperty(client, 'noManage', { value: true })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(clientName: string, port?: number): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clientName, clock: () => now }),
    directory,
    ...(port !== undefined && { port }),
  })
  const begun = await fetch(`${gateway.url}/api/oauth/authorize/notes`, {
    headers: { 'x-user': 'alice' },
    redirect: 'manual',
  })
  expect(begun.status).toBe(302)
}

describe('a replacement that was cut off', () => {
  it('is said at each start, until the client is replaced', async () => {
    const said = () =>
      gateway.log.filter((line) => line.includes('was cut off; the next sign-in registers again'))
    world.authorizationServer.intercept = (_req, res, request) => {
      const isMeant = request.method === 'POST' && request.path === '/reg'
      if (isMeant) HANG_UP(res, request)
      return isMeant
    }
    for (const times of [0, 1, 1]) {
      const { port } = gateway
      await gateway.close()
      await start('Renamed', port)
      expect(said()).toHaveLength(times)
    }
    world.authorizationServer.intercept = undefined
    for (const times of [1, 0]) {
      const { port } = gateway
      await gateway.close()
      await start('Renamed', port)
      expect(said()).toHaveLength(times)
    }
    expect(await gateway.dcr.registrations.list()).toHaveLength(2)
  })
})

const stored = (): string => readFileSync(gateway.storePath, 'utf8')

describe('renewing a registration that its issuer does not renew', () => {
  it('is refused where the MCP server names another issuer by now, and changes nothing', async () => {
    const other = await startAuthorizationServer()
    // What was discovered less than ten seconds ago is not asked for again.
    now += 10_000
    world.mcpServer.metadata = { authorization_servers: [other.issuer] }
    const before = stored()
    await expect(gateway.dcr.registrations.renew(id)).rejects.toMatchObject({
      code: 'issuer_mismatch',
      server: 'notes',
      message: expect.stringContaining('another issuer'),
      fix: expect.stringMatching(/\w/),
    })
    expect(stored()).toBe(before)
    expect([world.authorizationServer.count('POST', '/reg'), other.count('POST', '/reg')]).toEqual([1, 0])
    await other.close()
  })

  it('is refused where another one has taken its place, and changes nothing', async () => {
    await gateway.close()
    await start('Renamed', gateway.port)
    const registrations = await gateway.dcr.registrations.list()
    expect(registrations).toHaveLength(2)
    const former = registrations.find((it) => it.id !== id)
    expect(former?.clientId).toBe(clientId)
    const before = stored()
    await expect(gateway.dcr.registrations.renew(former?.id ?? '')).rejects.toMatchObject({
      code: 'management_not_supported',
      server: 'notes',
      message: expect.stringContaining('has taken the place'),
      fix: expect.stringContaining('Renew that one'),
    })
    expect(stored()).toBe(before)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(2)
  })
})
