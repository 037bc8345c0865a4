import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureClient } from '../../src/oauth/ensure-client.js'
import type { OAuthConfig } from '../../src/options.js'
import { startWorld, type World } from '../support/gateway.js'
import { BASE_URL, createOAuthContext, declare, registrationsOf, type TestContext } from './support.js'

let world: World
let context: TestContext

beforeEach(async () => {
  world = await startWorld()
  context = createOAuthContext()
})

afterEach(() => world.close())

/** The id of the client that the server `notes`, declared at this URL, has under this base URL. */
async function clientIdAt(url: string, baseUrl: string, oauthConfig: OAuthConfig = {}): Promise<string> {
  const server = declare(url, oauthConfig)
  const discovered = await context.discover(server, undefined)
  return (await ensureClient(context, { server, discovered, scope: 'mcp:read', baseUrl })).clientId
}

const asked = (): string[] =>
  world.authorizationServer.requests
    .filter(({ path }) => path.startsWith('/reg'))
    .map(({ method, path }) => `${method} ${path}`)

describe('a registration under another redirect URI', () => {
  it('is not taken over by a server of its name that is declared at another URL by now', async () => {
    const [former, now] = [world.mcpServer.url, (await world.addMcpServer()).url]
    const first = await clientIdAt(former, BASE_URL)
    const second = await clientIdAt(now, 'http://localhost:3999')
    expect(second).not.toBe(first)
    expect(asked()).toEqual(['POST /reg', 'POST /reg'])
    // Both are there to be moved; the one that was registered for this URL is.
    expect(await clientIdAt(now, 'http://localhost:4999')).toBe(second)
    expect(asked().slice(2)).toEqual([`GET /reg/${second}`, `PUT /reg/${second}`])
    const held = await registrationsOf(context)
    expect(held.map(({ clientId, serverUrl, redirectUri }) => [clientId, serverUrl, redirectUri])).toEqual([
      [first, former, `${BASE_URL}/api/oauth/callback`],
      [second, now, 'http://localhost:4999/api/oauth/callback'],
    ])
  })

  it('is left alone by such a server under the same redirect URI too', async () => {
    const [former, now] = [world.mcpServer.url, (await world.addMcpServer()).url]
    const first = await clientIdAt(former, BASE_URL)
    expect(await clientIdAt(now, BASE_URL)).not.toBe(first)
    expect(asked()).toEqual(['POST /reg', 'POST /reg'])
  })

  it('is replaced without the software statement that it was registered with', async () => {
    const oauthConfig = { softwareStatement: 'hush-statement' }
    const { url } = world.mcpServer
    const clientId = await clientIdAt(url, BASE_URL, oauthConfig)
    expect(await clientIdAt(url, 'http://localhost:3999', oauthConfig)).toBe(clientId)
    expect(asked()).toEqual(['POST /reg', `GET /reg/${clientId}`, `PUT /reg/${clientId}`])
    const [registered, , replaced] = world.authorizationServer.requests
      .filter(({ path }) => path.startsWith('/reg'))
      .map(({ body }) => body)
    expect(JSON.parse(registered ?? '')).toMatchObject({ software_statement: 'hush-statement' })
    expect(JSON.parse(replaced ?? '')).toMatchObject({ client_id: clientId, client_name: 'Test Gateway' })
    expect(replaced).not.toContain('software_statement')
    expect(JSON.stringify(await registrationsOf(context))).not.toContain('hush')
  })
})
