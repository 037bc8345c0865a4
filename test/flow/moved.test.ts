import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OAuthConfig } from '../../src/index.js'
import { startAuthorizationServer, type AuthorizationServer } from '../support/authorization-server.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startMcpServer, type McpServer } from '../support/mcp-server.js'
import type { Page, Person } from '../support/person.js'
import type { Intercept } from '../support/server.js'
import { browserOf, connect, NOTES_PAGE, tokenRequests } from '../support/visit.js'

// An MCP server that goes over from one authorization server to another (SPEC 9, 21, 22).

let former: AuthorizationServer
let latter: AuthorizationServer
let mcpServer: McpServer
let gateway: DcrGateway
let directory: string
let now: number
/** Everything secret that the former authorization server has issued, and the ids of its clients. */
let issued: string[]

beforeEach(async () => {
  now = Date.now()
  issued = []
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  const authorizationServer = { accessTokenLifetime: 3600 }
  ;[former, latter] = await Promise.all([
    startAuthorizationServer(authorizationServer),
    startAuthorizationServer(authorizationServer),
  ])
  const note = ({ body }: { body?: unknown }): void => {
    const { client_id, client_secret, access_token, refresh_token, registration_access_token } =
      body as Record<string, string | undefined>
    const all = [client_id, client_secret, access_token, refresh_token, registration_access_token]
    issued.push(...all.filter((it) => it !== undefined))
  }
  former.provider.on('grant.success', note)
  former.provider.on('registration_create.success', note)
  former.provider.on('registration_update.success', note)
  mcpServer = await startMcpServer({ issuer: former.issuer, jwks: former.jwks })
})

afterEach(async () => {
  await gateway.close()
  await Promise.all([former.close(), latter.close(), mcpServer.close()])
  rmSync(directory, { recursive: true })
})

async function start(
  oauthConfig: OAuthConfig = { tokenEndpointAuthMethod: 'client_secret_basic' },
  port?: number,
): Promise<void> {
  const { url } = mcpServer
  gateway = await startDcrGateway({
    servers: { notes: url },
    directory,
    options: () => ({ clock: () => now, servers: { notes: { url, oauthConfig } } }),
    ...(port !== undefined && { port }),
  })
}

/** From now on the MCP server takes tokens of the other authorization server alone. */
async function move(): Promise<void> {
  const { port } = mcpServer
  await mcpServer.close()
  mcpServer = await startMcpServer({ issuer: latter.issuer, jwks: latter.jwks, port })
}

/** All that a server was sent, credentials of HTTP Basic in plain text too. */
function sentTo({ requests }: AuthorizationServer): string {
  return requests
    .map(({ url, headers, authorization = '', body }) => {
      const basic = Buffer.from(/^Basic (.+)$/.exec(authorization)?.[1] ?? '', 'base64').toString()
      return (
        decodeURIComponent(JSON.stringify([url, headers, basic]).replaceAll('%', '%25')) +
        decodeURIComponent(body)
      )
    })
    .join('\n')
}

function expectNothingOfTheFormer(): void {
  expect(issued.length).toBeGreaterThan(0)
  const sent = sentTo(latter)
  for (const secret of issued) expect(sent).not.toContain(secret)
}

const toCallback = (url: URL): boolean => url.pathname === '/api/oauth/callback'

function page(person: Person, login: string): Promise<Page> {
  return person.signIn(gateway.url + NOTES_PAGE, { login })
}

const issuers = async (): Promise<string[]> =>
  (await gateway.dcr.registrations.list()).map(({ issuer }) => issuer).sort()

describe('an MCP server that has moved to another issuer', () => {
  it('has people sign in there, by a new registration; nothing of the former issuer goes there', async () => {
    await start()
    const [alice, bob] = [await connect('alice', gateway.url), await connect('bob', gateway.url)]
    expect(sentTo(latter)).toBe('')
    now += 60_000
    await move()
    for (const [person, login] of [
      [alice, 'alice'],
      [bob, 'bob'],
    ] as const) {
      const answer = await page(person, login)
      expect([answer.status, answer.url]).toEqual([200, gateway.url + NOTES_PAGE])
      expect(answer.text).toContain(`You are ${login}`)
    }
    expect(latter.count('POST', '/reg')).toBe(1)
    expect(former.count('POST', '/reg')).toBe(1)
    now += 3_600_000
    expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    expect(tokenRequests(latter, 'refresh_token')).toHaveLength(1)
    await gateway.dcr.disconnect('alice', 'notes')
    expect(latter.count('POST', '/token/revocation')).toBe(2)
    expectNothingOfTheFormer()
  })

  it('keeps the former registration until it is forgotten, which deletes both, each at its issuer', async () => {
    await start()
    const alice = await connect('alice', gateway.url)
    now += 60_000
    await move()
    expect((await page(alice, 'alice')).status).toBe(200)
    expect(await issuers()).toEqual([former.issuer, latter.issuer].sort())
    expect([former.registrations(), latter.registrations()]).toEqual([1, 1])
    await gateway.dcr.forget('notes')
    expect(await issuers()).toEqual([])
    expect([former.registrations(), latter.registrations()]).toEqual([0, 0])
    expect([former, latter].map((it) => it.count('DELETE', /^\/reg\//))).toEqual([1, 1])
    expectNothingOfTheFormer()
  })

  it('moves back to the former registration where the server does', async () => {
    await start()
    const alice = await connect('alice', gateway.url)
    now += 60_000
    await move()
    expect((await page(alice, 'alice')).status).toBe(200)
    now += 60_000
    ;[former, latter] = [latter, former]
    await move()
    expect((await page(alice, 'alice')).status).toBe(200)
    expect([former, latter].map((it) => it.count('POST', '/reg'))).toEqual([1, 1])
  })

  it('is refreshed at the former issuer as long as it takes the tokens, whatever its metadata says', async () => {
    await start()
    const alice = await connect('alice', gateway.url)
    mcpServer.metadata = { authorization_servers: [latter.issuer] }
    now += 3_590_000
    expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    expect(tokenRequests(former, 'refresh_token')).toHaveLength(1)
    expect(sentTo(latter)).toBe('')
    mcpServer.rejectAll = true
    now += 60_000
    const answer = await alice.open(gateway.url + NOTES_PAGE)
    // The token that was sent is not that of the refresh just now: there is one more, at the former issuer.
    const last = answer.status === 307 ? await alice.open(answer.location ?? '') : answer
    expect([last.status, last.location?.startsWith(latter.issuer)]).toEqual([302, true])
    expect(tokenRequests(latter, 'refresh_token')).toEqual([])
    expectNothingOfTheFormer()
  })

  it('finishes a sign-in that began before at the issuer where it began', async () => {
    await start()
    const alice = browserOf('alice', gateway.url)
    const { location = '' } = await alice.signIn(gateway.url + NOTES_PAGE, { until: toCallback })
    await move()
    expect((await alice.open(location)).status).toBe(303)
    expect(tokenRequests(former, 'authorization_code')).toHaveLength(1)
    expect(sentTo(latter)).toBe('')
  })

  it('sends a person on who has signed in by what was known before: to the new issuer, not to an error', async () => {
    await start()
    await connect('alice', gateway.url)
    now += 60_000
    await move()
    const bob = browserOf('bob', gateway.url)
    const first = await bob.signIn(gateway.url + NOTES_PAGE, { login: 'bob', until: toCallback })
    expect(new URL(first.url).origin).toBe(former.issuer)
    expect((await bob.open(first.location ?? '')).status).toBe(303)
    const second = await page(bob, 'bob')
    expect([second.status, second.url]).toEqual([200, gateway.url + NOTES_PAGE])
    expectNothingOfTheFormer()
  })

  it('is not taken to have been denied what was denied at the former one', async () => {
    await start()
    const alice = await connect('alice', gateway.url)
    const demandMore: Intercept = (_req, res, { path }) => {
      if (!path.startsWith('/mcp')) return false
      const metadata = `${mcpServer.origin}/.well-known/oauth-protected-resource/mcp`
      const challenge = `Bearer error="insufficient_scope", scope="read", resource_metadata="${metadata}"`
      res.writeHead(403, { 'www-authenticate': challenge }).end()
      return true
    }
    mcpServer.intercept = demandMore
    const { location: denial = '' } = await alice.signIn(gateway.url + NOTES_PAGE, {
      decision: 'deny',
      until: toCallback,
    })
    now += 60_000
    await move()
    expect((await page(alice, 'alice')).status).toBe(200)
    expect((await alice.open(denial)).status).toBe(403)
    mcpServer.intercept = demandMore
    const answer = await alice.open(gateway.url + NOTES_PAGE)
    expect([answer.status, answer.location?.startsWith(latter.issuer)]).toEqual([302, true])
  })

  it('is no excuse for a server that rejects the tokens of the issuer that it names', async () => {
    await start()
    await connect('alice', gateway.url)
    now += 60_000
    mcpServer.rejectAll = true
    const answer = await page(browserOf('bob', gateway.url), 'bob')
    expect([answer.status, answer.text]).toEqual([502, expect.stringContaining('token_rejected')])
  })
})

describe('a client that is configured by hand', () => {
  const byHand = { clientId: 'by-hand', clientSecret: 'the-secret-of-the-client-by-hand' }

  function know({ provider }: AuthorizationServer): Promise<unknown> {
    const client = {
      client_id: byHand.clientId,
      client_secret: byHand.clientSecret,
      redirect_uris: [`${gateway.url}/api/oauth/callback`],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      application_type: 'native',
      token_endpoint_auth_method: 'client_secret_basic',
    }
    return (
      provider.Client as unknown as { adapter: { upsert(id: string, it: object): Promise<unknown> } }
    ).adapter.upsert(byHand.clientId, client)
  }

  it('is refused at another issuer than it was used at, unless that is pinned (SPEC 21)', async () => {
    await start(byHand)
    await know(former)
    issued.push(byHand.clientId, byHand.clientSecret)
    const alice = await connect('alice', gateway.url)
    now += 60_000
    await move()
    const refused = await page(alice, 'alice')
    expect([refused.status, refused.text]).toEqual([502, expect.stringContaining('issuer_mismatch')])
    expect(refused.text).toContain('oauthConfig.issuer')
    expect((await page(browserOf('bob', gateway.url), 'bob')).status).toBe(502)
    expectNothingOfTheFormer()

    await know(latter)
    const { port } = gateway
    await gateway.close()
    await start({ ...byHand, issuer: latter.issuer }, port)
    expect((await page(alice, 'alice')).status).toBe(200)
    for (const server of [former, latter]) {
      server.forgetClient(byHand.clientId)
      expect(server.count('POST', '/reg')).toBe(0)
    }
  })
})
