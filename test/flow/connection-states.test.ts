import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectionState, type ConnectionState } from '../../src/connections.js'
import { McpDcrError } from '../../src/errors.js'
import type { Connection } from '../../src/model.js'
import { connectionKey } from '../../src/store/records.js'
import { createOAuthContext, declare, flowAt, json, status, type Reply } from '../oauth/support.js'
import { startDcrGateway, userOf, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World, type WorldOptions } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let alice: Person
let now: number

async function start(options: WorldOptions = {}): Promise<void> {
  now = Date.now()
  world = await startWorld(options)
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
  alice = person('alice')
}

beforeEach(() => start({ authorizationServer: { accessTokenLifetime: 300 } }))
afterEach(() => stop())

async function stop(): Promise<void> {
  await gateway.close()
  await world.close()
}

async function restart(options: WorldOptions): Promise<void> {
  await stop()
  await start(options)
}

function person(name: string): Person {
  const created = createPerson()
  created.setCookie(gateway.url, `user=${name}; Path=/`)
  return created
}

const visit = (who = alice): ReturnType<Person['signIn']> => who.signIn(`${gateway.url}/mcp/notes/page`)
const open = (): ReturnType<Person['open']> => alice.open(`${gateway.url}/mcp/notes/page`)

/** How alice stands: in code, and to programs; both say the same. */
async function state(): Promise<ConnectionState | undefined> {
  const [inCode] = await gateway.dcr.connections('alice')
  const { text } = await alice.fetch(`${gateway.url}/api/oauth/connections`)
  const [toPrograms] = (JSON.parse(text) as { connections: ConnectionState[] }).connections
  expect(toPrograms).toMatchObject(inCode as object)
  return inCode
}

/** What the page shows. */
const page = async (): Promise<string> => (await alice.open(`${gateway.url}/api/oauth/connections`)).text

/** Puts an answer in the place of the authorization server's. */
function answer(path: RegExp, reply: Reply): void {
  world.authorizationServer.intercept = (_req, res, request) => {
    if (!path.test(request.path)) return false
    reply(res, request)
    return true
  }
}

const relieve = (): void => void (world.authorizationServer.intercept = undefined)

describe('the state of a connection', () => {
  it('is connected, then expired, and connected again with the next request', async () => {
    expect(await state()).toEqual({ server: 'notes', url: world.mcpServer.url, state: 'not_connected' })
    await visit()
    const [before] = await gateway.dcr.connections('alice')
    expect(before).toMatchObject({ state: 'connected', refreshable: true, connectedAt: now })
    expect([before?.reason, before?.fix]).toEqual([undefined, undefined])
    now += 300_000
    expect(await state()).toMatchObject({ state: 'expired', expiresAt: before?.expiresAt })
    expect((await open()).status).toBe(200)
    expect(await state()).toMatchObject({ state: 'connected', connectedAt: before?.connectedAt })
  })

  it('of a dead grant is needs_authorization, says why and what to do, and reconnects in place (FIELD-NOTES 26)', async () => {
    await visit()
    now += 300_000
    answer(/^\/token$/, json({ error: 'invalid_grant' }, 400))
    await open()
    relieve()
    expect(await state()).toMatchObject({
      state: 'needs_authorization',
      reason: 'refresh_refused',
      fix: 'The provider has ended this sign-in. Sign in again.',
    })
    const shown = await page()
    expect(shown).toContain('Sign in again</p>')
    expect(shown).toContain('The provider has ended this sign-in.')
    expect(shown).toContain('<code>refresh_refused</code>')
    expect(shown).not.toContain('>Connected<')
    const { authorizationUrl = '' } = JSON.parse(
      (await alice.fetch(`${gateway.url}/api/oauth/connections`)).text,
    ).connections[0]
    await alice.signIn(authorizationUrl)
    expect(await state()).toMatchObject({ state: 'connected' })
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it('without a refresh token is needs_authorization as soon as the token has expired', async () => {
    await restart({ authorizationServer: { accessTokenLifetime: 300, refreshTokens: 'never' } })
    await visit()
    expect(await state()).toMatchObject({ state: 'connected' })
    now += 300_000
    expect(await state()).toMatchObject({ state: 'needs_authorization', reason: 'token_expired' })
    expect((await state())?.refreshable).toBeUndefined()
  })

  it('is error while a refresh that was tried fails, and no longer', async () => {
    await visit()
    now += 300_000
    answer(/^\/token$/, status(503))
    expect((await open()).status).toBe(503)
    expect(await state()).toMatchObject({
      state: 'error',
      reason: 'refresh_failed',
      fix: expect.stringContaining('Try again'),
    })
    expect(await page()).toContain('<code>refresh_failed</code>')
    relieve()
    await open()
    expect(await state()).toMatchObject({ state: 'connected' })
    now += 300_000
    expect(await state()).toMatchObject({ state: 'expired' })
  })

  it('stays connected where a refresh ahead of time fails: the token works', async () => {
    await visit()
    now += 250_000
    answer(/^\/token$/, status(503))
    expect((await open()).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/token')).toBe(2)
    expect(await state()).toMatchObject({ state: 'connected' })
  })

  it('is error of all who are not connected while discovery fails', async () => {
    const bob = person('bob')
    await bob.signIn(`${gateway.url}/mcp/notes/page`, { login: 'bob' })
    now += 600_000
    answer(/well-known/, status(404))
    expect((await open()).status).toBe(502)
    expect(await state()).toMatchObject({ state: 'error', reason: 'discovery_failed' })
    expect(await page()).toMatch(/class="state bad">Error<[^]*discovery_failed/)
    expect((await gateway.dcr.connections('carol'))[0]?.state).toBe('error')
    expect((await gateway.dcr.connections('bob'))[0]?.state).toBe('expired')
    relieve()
    now += 5000
    await alice.open(`${gateway.url}/api/oauth/authorize/notes`)
    expect(await state()).toMatchObject({ state: 'not_connected' })
  })

  it('is error where no client can be registered, and says what to do by hand', async () => {
    await restart({ authorizationServer: { registration: false } })
    await open()
    expect(await state()).toMatchObject({
      state: 'error',
      reason: 'registration_endpoint_not_found',
      fix: expect.stringContaining(`${gateway.url}/api/oauth/callback`),
    })
    expect(await page()).toContain(`${gateway.url}/api/oauth/callback`)
  })

  it('is error where the token of a brand-new sign-in is rejected, until it is accepted', async () => {
    world.mcpServer.rejectAll = true
    const ended = await visit()
    expect(ended.status).toBe(502)
    expect(await state()).toMatchObject({ state: 'error', reason: 'token_rejected' })
    expect((await state())?.fix).toContain('Signing in again would not help')
    world.mcpServer.rejectAll = false
    expect((await open()).status).toBe(200)
    expect(await state()).toMatchObject({ state: 'connected' })
  })

  it('is connected by a new sign-in, whose token nobody has rejected', async () => {
    world.mcpServer.rejectAll = true
    await visit()
    expect(await state()).toMatchObject({ state: 'error' })
    await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
    expect(await state()).toMatchObject({ state: 'connected' })
  })

  it('is forgotten with the connection', async () => {
    await visit()
    now += 300_000
    answer(/^\/token$/, status(503))
    await open()
    relieve()
    await gateway.dcr.disconnect('alice', 'notes')
    expect(await state()).toMatchObject({ state: 'not_connected' })
    await visit()
    now += 300_000
    expect(await state()).toMatchObject({ state: 'expired' })
  })

  it('of one tenant’s server says nothing of another’s under the same name', async () => {
    await gateway.close()
    gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: () => ({
        servers: (req) => ({
          notes: {
            url: world.mcpServer.url,
            oauthConfig: userOf(req) === 'alice' ? { dynamicRegistration: false } : {},
          },
        }),
      }),
    })
    alice = person('alice')
    await open()
    const statesOf = async (who: Person): Promise<unknown> =>
      JSON.parse((await who.fetch(`${gateway.url}/api/oauth/connections`)).text).connections[0].state
    expect([await statesOf(alice), await statesOf(person('bob'))]).toEqual(['error', 'not_connected'])
  })

  it('is not error for what failed before another instance refreshed', () => {
    const context = createOAuthContext()
    const server = declare('https://mcp.example/mcp')
    const { expiresAt: _, ...flow } = flowAt('https://as.example', server)
    const connection: Connection = {
      ...flow,
      status: 'connected',
      accessToken: 'at',
      refreshToken: 'rt',
      expiresAt: context.clock() + 2000,
      obtainedBy: 'refresh',
      obtainedAt: context.clock() + 1000,
      connectedAt: 1,
    }
    context.failures.note(connectionKey('ann', 'notes'), new McpDcrError('refresh_failed', 'It is down.'))
    context.pass(3000)
    expect(connectionState(context, server, connection).state).toBe('expired')
    context.failures.note(connectionKey('ann', 'notes'), new McpDcrError('refresh_failed', 'It is down.'))
    expect(connectionState(context, server, connection)).toMatchObject({
      state: 'error',
      reason: 'refresh_failed',
    })
  })
})

describe('POST /api/oauth/connections/:server/refresh', () => {
  const url = (name = 'notes'): string => `${gateway.url}/api/oauth/connections/${name}/refresh`
  const post = (headers: Record<string, string> = {}, name?: string): ReturnType<Person['fetch']> =>
    alice.fetch(url(name), { method: 'POST', headers })
  /** Sends the page's form. */
  const form = (): ReturnType<Person['open']> =>
    alice.open(url(), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin', origin: gateway.url } })
  const upstreamSaw = (): string | undefined => world.mcpServer.requests.at(-1)?.authorization

  it('refreshes now, and answers the new state', async () => {
    await visit()
    const first = upstreamSaw()
    now += 10_000
    const { status, text, headers } = await post()
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    const { connection } = JSON.parse(text) as { connection: ConnectionState }
    expect(connection).toMatchObject({
      server: 'notes',
      state: 'connected',
      authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
      unfinished: false,
    })
    expect(connection.expiresAt).toBeGreaterThanOrEqual(now + 299_000)
    expect(await state()).toMatchObject({ expiresAt: connection.expiresAt })
    await open()
    expect(upstreamSaw()).not.toBe(first)
    expect(text).not.toMatch(/eyJ|[Tt]oken"/)
  })

  it('is one refresh for many at the same time', async () => {
    await visit()
    const before = world.authorizationServer.count('POST', '/token')
    const states = await Promise.all(Array.from({ length: 20 }, () => gateway.dcr.refresh('alice', 'notes')))
    expect(new Set(states.map((it) => it.state))).toEqual(new Set(['connected']))
    expect(world.authorizationServer.count('POST', '/token') - before).toBe(1)
  })

  it('leads a form back to the page', async () => {
    await visit()
    const before = world.authorizationServer.count('POST', '/token')
    const { status, location } = await form()
    expect([status, location]).toEqual([303, `${gateway.url}/api/oauth/connections`])
    expect(world.authorizationServer.count('POST', '/token') - before).toBe(1)
  })

  it('answers that a sign-in is needed where the provider refuses', async () => {
    await visit()
    answer(/^\/token$/, json({ error: 'invalid_grant' }, 400))
    const { status, text } = await post()
    expect([status, JSON.parse(text)]).toMatchObject([
      200,
      { connection: { state: 'needs_authorization', reason: 'refresh_refused' } },
    ])
  })

  it('fails where the provider is down, and keeps the connection', async () => {
    await visit()
    answer(/^\/token$/, status(503))
    const answered = await post()
    expect([answered.status, JSON.parse(answered.text)]).toMatchObject([503, { code: 'refresh_failed' }])
    const shown = await form()
    expect(shown.status).toBe(503)
    expect(shown.text).toContain('Error code: refresh_failed')
    expect(shown.text).toContain(`href="${gateway.url}/api/oauth/connections">Back to the connections`)
    expect(await state()).toMatchObject({ state: 'connected' })
  })

  it('without a refresh token says so, and keeps the token that works', async () => {
    await restart({ authorizationServer: { refreshTokens: 'never' } })
    await visit()
    const answered = await post()
    expect([answered.status, JSON.parse(answered.text)]).toMatchObject([409, { code: 'nothing_to_refresh' }])
    await expect(gateway.dcr.refresh('alice', 'notes')).rejects.toMatchObject({ code: 'nothing_to_refresh' })
    expect(await state()).toMatchObject({ state: 'connected' })
  })

  it.each([
    ['nobody is connected', {}, 'notes', 401, 'authorization_required'],
    ['a page elsewhere sends it', { 'sec-fetch-site': 'cross-site' }, 'notes', 403, 'cross_site_request'],
    ['there is no such server', {}, 'nothing', 404, 'unknown_server'],
    ['nobody is signed in', { cookie: '' }, 'notes', 401, 'user_required'],
  ])('is refused where %s', async (_name, headers, name, status, code) => {
    const answered = await post(headers, name)
    expect([answered.status, JSON.parse(answered.text)]).toMatchObject([status, { code }])
    expect(world.authorizationServer.requests).toEqual([])
  })

  it('refreshes no connection that needs a sign-in', async () => {
    await visit()
    answer(/^\/token$/, json({ error: 'invalid_grant' }, 400))
    await post()
    relieve()
    expect(JSON.parse((await post()).text)).toMatchObject({
      code: 'authorization_required',
      authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
    })
  })

  it('is dcr.refresh() in code', async () => {
    await visit()
    now += 300_000
    expect(await gateway.dcr.refresh('alice', 'notes')).toMatchObject({ state: 'connected' })
    await expect(gateway.dcr.refresh('bob', 'notes')).rejects.toMatchObject({
      code: 'authorization_required',
      authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
    })
    await expect(gateway.dcr.refresh('alice', 'other')).rejects.toMatchObject({ code: 'unknown_server' })
  })
})
