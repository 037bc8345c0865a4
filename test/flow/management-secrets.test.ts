import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { json } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let directory: string
let id: string
let clientId: string
/** The client secret, and every registration access token that was sent. */
let secrets: Set<string>

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld({
    authorizationServer: {
      metadata: (document) => ({
        ...document,
        token_endpoint_auth_methods_supported: ['client_secret_basic'],
      }),
    },
  })
  await start('A gateway')
  const [registration] = await gateway.dcr.registrations.list()
  id = registration?.id ?? ''
  clientId = registration?.clientId ?? ''
  const client = await world.authorizationServer.provider.Client.find(clientId)
  secrets = new Set([client?.clientSecret ?? ''])
  expect([...secrets]).toEqual([expect.stringMatching(/^.{20,}$/)])
})

afterEach(async () => {
  await gateway.close()
  world.authorizationServer.forgetClient(clientId)
  await world.close()
  rmSync(directory, { recursive: true })
})

async function start(clientName: string, port?: number): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ admin: () => true, clientName }),
    directory,
    ...(port !== undefined && { port }),
  })
  const begun = await fetch(`${gateway.url}/api/oauth/authorize/notes`, {
    headers: { 'x-user': 'alice' },
    redirect: 'manual',
  })
  expect(begun.status).toBe(302)
}

/** Refuses everything, and tells in both members what it knows of the client. */
function echo(): void {
  world.authorizationServer.intercept = (_req, res, request) => {
    if (!request.path.startsWith('/reg/')) return false
    secrets.add(request.authorization?.slice('Bearer '.length) ?? '')
    const said = `no to ${[...secrets].join(' and to ')}`
    json({ error: said, error_description: said }, 400)(res, request)
    return true
  }
}

function expectNoSecret(shown: string): void {
  expect(shown).toContain('no to … and to …')
  for (const secret of secrets) expect(shown).not.toContain(secret)
}

describe('an issuer that echoes the client secret and the registration access token', () => {
  it.each(['GET', 'PUT', 'DELETE'])(
    'has them shown neither in the answer nor in the log: %s',
    async (method) => {
      echo()
      const answer = await fetch(`${gateway.url}/api/oauth/registrations/${id}`, {
        method,
        ...(method === 'PUT' && {
          body: '{"contacts": []}',
          headers: { 'content-type': 'application/json' },
        }),
      })
      expect(answer.status).toBe(502)
      expectNoSecret(await answer.text())
      expect(secrets.size).toBe(2)
      for (const secret of secrets) expect(gateway.log.join('\n')).not.toContain(secret)
    },
  )

  it('has them not logged where the server is forgotten', async () => {
    echo()
    await gateway.dcr.forget('notes')
    expectNoSecret(gateway.log.join('\n'))
  })

  it('has them not logged where a sign-in finds that the registration is to be replaced', async () => {
    await gateway.close()
    echo()
    await start('Renamed', gateway.port)
    expectNoSecret(gateway.log.join('\n'))
    expect(await gateway.dcr.registrations.list()).toHaveLength(2)
  })
})
