import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { gate } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

const OLD = 'an old key of more than 32 characters'
const NEW = 'a new key that has more than 32 characters'

let world: World
let gateway: DcrGateway
let alice: Person
let directory: string
/** Opens once the records have been sealed anew. */
let resealed: ReturnType<typeof gate>

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  resealed = gate()
  world = await startWorld()
  await start(OLD)
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

async function start(encryptionKey: string | string[], port?: number): Promise<void> {
  const info = (message: string): void => {
    if (message.includes('sealed anew')) resealed.open()
  }
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ encryptionKey, logger: { info, warn: () => undefined, error: () => undefined } }),
    directory,
    ...(port !== undefined && { port }),
  })
}

async function restart(encryptionKey: string | string[]): Promise<void> {
  const { port } = gateway
  await gateway.close()
  await start(encryptionKey, port)
}

it('rotates its key without a sign-in: the new one first, then the old one can go', async () => {
  await restart([NEW, OLD])
  expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  await resealed.opened
  await restart(NEW)
  expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  expect(world.authorizationServer.count('POST', '/token')).toBe(1)
})

it('finishes a sign-in that began under the old key', async () => {
  const bob = createPerson()
  bob.setCookie(gateway.url, 'user=bob; Path=/')
  const { location = '' } = await bob.open(`${gateway.url}/mcp/notes/page`)
  await restart([NEW, OLD])
  expect((await bob.signIn(location, { login: 'bob' })).status).toBe(200)
})

it('says how many records it has sealed anew when told to', async () => {
  await gateway.dcr.reseal()
  const before = readFileSync(gateway.storePath, 'utf8')
  expect(await gateway.dcr.reseal()).toEqual({ resealed: 0, unopened: {}, damaged: 0 })
  expect(readFileSync(gateway.storePath, 'utf8')).toBe(before)
})
