import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resolveOptions } from '../../src/resolve-options.js'
import { gate } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { connect, tokenRequests } from '../support/visit.js'

const TIMEOUT = 400

let world: World
let gateway: DcrGateway
let now: number

beforeEach(async () => {
  now = Date.now()
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now, timeout: TIMEOUT }),
  })
  await connect('alice', gateway.url)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

/** What an MCP client sends first. */
async function initialize(): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${gateway.url}/mcp/notes`, {
    method: 'POST',
    headers: {
      'x-user': 'alice',
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    }),
  })
  return { status: answer.status, text: await answer.text() }
}

describe('a refresh that does not come to an end', () => {
  it('holds initialize up for the timeout, 10 s by default, and no longer (FIELD-NOTES 29)', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
    expect(resolveOptions({ store: join(directory, 'store.json') }).timeout).toBe(10_000)
    rmSync(directory, { recursive: true })
    const answered = gate()
    world.authorizationServer.intercept = async (_req, _res, { path }) => {
      if (path === '/token') await answered.opened
      return false
    }
    now += 3_600_000
    const answer = await initialize()
    expect(answer.text).toContain('refresh')
    expect(answer.text).not.toContain('serverInfo')
    expect(tokenRequests(world.authorizationServer, 'refresh_token').map(({ status }) => status)).toEqual([
      undefined,
    ])
    answered.open()
  })

  it('is bounded as a whole too: also where somebody else has the connection', async () => {
    // Disconnecting holds it for two revocations, each of which takes the whole timeout.
    const revoked = gate()
    world.authorizationServer.intercept = (_req, _res, { path }) => {
      if (path !== '/token/revocation') return false
      revoked.open()
      return true
    }
    const disconnecting = gateway.dcr.disconnect('alice', 'notes')
    await revoked.opened
    now += 3_600_000
    const answer = await initialize()
    expect(answer.text).toContain(`not refreshed within ${TIMEOUT} ms`)
    expect(tokenRequests(world.authorizationServer, 'refresh_token')).toEqual([])
    await disconnecting
  })

  it('holds nothing up while the token still works', async () => {
    world.authorizationServer.intercept = (_req, _res, { path }) => path === '/token'
    now += 3_550_000
    expect((await initialize()).text).toContain('serverInfo')
  })
})
