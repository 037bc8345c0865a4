import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RegistrationInfo } from '../../src/index.js'
import { gate, kill } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, connect, expectRefresh, NOTES_PAGE } from '../support/visit.js'

let world: World
let directory: string
/** The gateway that is killed. */
let child: ChildProcess
let url: string
/** The one that comes after it. */
let gateway: DcrGateway | undefined

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld()
  const script = fileURLToPath(new URL('./gateway-process.ts', import.meta.url))
  child = spawn(process.execPath, ['--import', 'tsx', script, directory, world.mcpServer.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said] = (await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, 'data'),
    once(child, 'exit').then((reason) => [`ended: ${reason.join(' ')}`]),
  ])) as [Buffer | string]
  url = String(said).trim()
  expect(url).toMatch(/^http:/)
})

afterEach(async () => {
  if (child.exitCode === null && child.signalCode === null) await kill(child)
  await gateway?.close()
  gateway = undefined
  await world.close()
  rmSync(directory, { recursive: true })
})

/**
 * Kills the gateway while this is under way, once its registration has come to the authorization server, which
 * never answers it. Returns the client that is there then and that nobody knows, if there is one.
 *
 * @param registers whether the authorization server makes a client of it before that
 */
async function killDuring(work: () => Promise<unknown>, registers: boolean): Promise<string | undefined> {
  const { authorizationServer } = world
  const arrived = gate()
  let clientId: string | undefined
  const { intercept: before } = authorizationServer
  authorizationServer.intercept = (req, res, request) => {
    if (request.method !== 'POST' || request.path !== '/reg') return before?.(req, res, request) ?? false
    authorizationServer.intercept = undefined
    if (!registers) arrived.open()
    res.end = ((body: string) => {
      clientId = (JSON.parse(body) as { client_id: string }).client_id
      arrived.open()
      return res
    }) as typeof res.end
    return !registers
  }
  const cut = expect(work()).rejects.toThrow()
  await arrived.opened
  await kill(child)
  await cut
  return clientId
}

/** The time stands still: nothing that the dead process has left behind runs out, so nothing may wait for that. */
async function restart(): Promise<DcrGateway> {
  const now = Date.now()
  return (gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    directory,
    port: Number(new URL(url).port),
    options: () => ({ clock: () => now }),
  }))
}

/** What the store's file has of each registration. */
function stored(): string[] {
  const file = JSON.parse(readFileSync(join(directory, 'store.json'), 'utf8')) as Record<string, object>
  const records = Object.values(file['oauth_client_registrations'] ?? {}) as { data: { status: string } }[]
  return records.map(({ data }) => data.status)
}

/** The routes under `/api/oauth/registrations`. */
function manage(path: string, method = 'GET'): Promise<Response> {
  return fetch(`${url}/api/oauth/registrations${path}`, { method })
}

const registered = (): number => world.authorizationServer.count('POST', '/reg')
const warnings = ({ log }: DcrGateway): string[] => log.filter((line) => line.startsWith('warn'))

describe('a gateway that is killed between the marker of a registration and the answer', () => {
  it.each([
    ['before the issuer has made a client', false],
    ['when the issuer has made a client', true],
  ])('%s: the next one says so and registers once more; the sign-in works at once', async (_when, made) => {
    const people = ['alice', 'bob', 'carol'].map((user) => browserOf(user, url))
    const orphan = await killDuring(() => Promise.all(people.map((it) => it.open(url + NOTES_PAGE))), made)
    expect([stored(), registered(), orphan !== undefined]).toEqual([['registering'], 1, made])

    const next = await restart()
    const alice = await connect('alice', url)
    await connect('bob', url)
    expect(warnings(next)).toEqual([
      expect.stringContaining('a registration was cut off; the next sign-in registers again'),
      expect.stringContaining('an earlier registration was cut off; registering again'),
    ])
    expect([stored(), registered()]).toEqual([['registered'], 2])
    world.mcpServer.revokeSeen()
    expect(await expectRefresh(alice, url, world.authorizationServer)).not.toBe(orphan)
    // Nobody but the issuer can know of it: that is what the log is for.
    if (orphan !== undefined) world.authorizationServer.forgetClient(orphan)
  })

  it('where there was a client before: what was issued under that still refreshes', async () => {
    const alice = await connect('alice', url)
    const list = (await (await manage('')).json()) as { registrations: RegistrationInfo[] }
    const [{ id, clientId } = {}] = list.registrations
    // It takes no changes, so that renewing is registering again.
    world.authorizationServer.intercept = (req, res) => {
      if (req.method !== 'PUT') return false
      res.writeHead(405).end()
      return true
    }
    await killDuring(() => manage(`/${id}/renew`, 'POST'), false)
    expect(stored().sort()).toEqual(['registered', 'registering'])

    const next = await restart()
    world.mcpServer.revokeSeen()
    expect(await expectRefresh(alice, url, world.authorizationServer)).toBe(clientId)
    await connect('bob', url)
    expect(warnings(next)).toHaveLength(2)
    expect([registered(), stored()]).toEqual([3, ['registered', 'registered']])
  })
})
