import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { mcpDcrCommand } from '../cli/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { connect, NOTES_PAGE } from '../support/visit.js'
import { BACKENDS, type Backend } from './backends.js'

let world: World
let directory: string
let backends: Backend[]
let gateway: DcrGateway

beforeEach(async () => {
  world = await startWorld()
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  backends = Object.values(BACKENDS).map((create) => create())
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  for (const backend of backends) await backend.remove()
  rmSync(directory, { recursive: true })
})

it('a store is copied from file to Postgres to Redis to file, and people stay connected all the way', async () => {
  const start = async (store?: Awaited<ReturnType<Backend['open']>>): Promise<void> => {
    const { port, url } = gateway ?? {}
    gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      directory,
      ...(port !== undefined && { port }),
      options: (own) => ({
        baseUrl: url ?? own,
        encryptionKey: 'one key of 32 characters or more for all',
        ...(store && { store }),
      }),
    })
  }
  await start()
  const alice = await connect('alice', gateway.url)
  await gateway.close()
  const first = readFileSync(gateway.storePath, 'utf8')

  let from = gateway.storePath
  for (const backend of backends) {
    const { code, out, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', backend.url)
    expect([code, errors]).toEqual([0, ''])
    expect(out).toMatch(/registrations: 1 copied[^]*tokens: 1 copied/)
    const again = await mcpDcrCommand('migrate', '--from', from, '--to', backend.url)
    expect(again.out).toContain('oauth_tokens: 0 copied, 1 already there')
    await start(await backend.open())
    expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    await gateway.close()
    from = backend.url
  }

  const last = join(directory, 'last.json')
  expect(await mcpDcrCommand('migrate', '--from', from, '--to', last)).toMatchObject({ code: 0, errors: '' })
  expect(withoutVersions(readFileSync(last, 'utf8'))).toEqual(withoutVersions(first))
  expect(world.authorizationServer.count('POST', '/token')).toBe(1)
})

function withoutVersions(json: string): unknown {
  return JSON.parse(json, (name, value: unknown) => (name === 'version' ? undefined : value))
}
