import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { AuthorizationServerOptions } from '../support/authorization-server.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, connect, NOTES_PAGE } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let directory: string
let now: number

beforeEach(() => {
  now = Date.now()
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(authorizationServer: AuthorizationServerOptions = {}): Promise<void> {
  world = await startWorld({ authorizationServer })
  await serve(world.mcpServer.url)
}

async function serve(notes: string): Promise<void> {
  gateway = await startDcrGateway({ servers: { notes }, directory, options: () => ({ clock: () => now }) })
}

it('a server that takes over a name gets no token of the former one, proxied or fetched (SPEC 34)', async () => {
  await start()
  await connect('alice', gateway.url)
  const latter = await world.addMcpServer()
  await gateway.close()
  await serve(latter.url)

  const page = await browserOf('alice', gateway.url).open(gateway.url + NOTES_PAGE)
  expect([page.status, page.location?.startsWith(world.authorizationServer.issuer)]).toEqual([302, true])
  await expect(gateway.dcr.fetch('alice', 'notes')(latter.url)).rejects.toMatchObject({
    code: 'authorization_required',
  })
  const sent = latter.requests.map(({ authorization }) => authorization)
  expect([sent.length > 1, new Set(sent)]).toEqual([true, new Set([undefined])])
})

it('a token that is rejected after a new sign-in ends the former one, not the new (FIELD-NOTES 7)', async () => {
  await start({ refreshTokens: 'never' })
  const alice = await connect('alice', gateway.url)
  let reject = (): void => undefined
  const arrived = new Promise<void>((resolve) => {
    world.mcpServer.intercept = (_req, res) => {
      world.mcpServer.intercept = undefined
      reject = () => void res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      resolve()
      return true
    }
  })
  const late = alice.open(gateway.url + NOTES_PAGE)
  await arrived
  now += 1
  const page = await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
  expect(page.text).toContain('Connected')
  reject()
  expect((await late).status).toBe(302)
  expect(await gateway.dcr.connections('alice')).toMatchObject([{ state: 'connected' }])
  expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
})
