import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { McpDcrEvent } from '../../src/index.js'
import { createEmit } from '../../src/oauth/events.js'
import { recordingLogger } from '../store/support.js'
import type { AuthorizationServerOptions } from '../support/authorization-server.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let alice: Person
let now: number
let events: McpDcrEvent[]
/** What the hook does beside noting the event. */
let onEvent: (event: McpDcrEvent) => void | Promise<void>

beforeEach(() => start())

async function start(authorizationServer: AuthorizationServerOptions = {}): Promise<void> {
  now = Date.now()
  events = []
  onEvent = () => undefined
  world = await startWorld({ authorizationServer: { accessTokenLifetime: 300, ...authorizationServer } })
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      clock: () => now,
      onEvent: (event) => {
        events.push(event)
        return onEvent(event)
      },
    }),
  })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
}

afterEach(() => stop())

async function stop(): Promise<void> {
  await gateway.close()
  await world.close()
}

const visit = (): Promise<{ status: number }> => alice.signIn(`${gateway.url}/mcp/notes/page`)
const types = (): string[] => events.map(({ type }) => type)
const state = async (): Promise<unknown> => (await gateway.dcr.connections('alice'))[0]?.state

async function clientId(): Promise<string | undefined> {
  return (await gateway.dcr.registrations.list())[0]?.clientId
}

describe('onEvent', () => {
  it('is told of each change of a connection and a registration, once', async () => {
    await visit()
    const about = { server: 'notes', issuer: world.authorizationServer.issuer, clientId: await clientId() }
    const first = now
    now += 300_000
    await visit()
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token') return false
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
      return true
    }
    now += 300_000
    await alice.open(`${gateway.url}/mcp/notes/page`)
    world.authorizationServer.intercept = undefined
    await visit()
    await gateway.dcr.disconnect('alice', 'notes')
    await gateway.dcr.disconnect('alice', 'notes')
    await gateway.dcr.forget('notes')
    const alices = { ...about, user: 'alice' }
    expect(events).toEqual([
      { type: 'registered', ...about, at: first },
      { type: 'connected', ...alices, at: first },
      { type: 'refreshed', ...alices, at: first + 300_000 },
      { type: 'needs_authorization', ...alices, reason: 'refresh_refused', at: now },
      { type: 'connected', ...alices, at: now },
      { type: 'disconnected', ...alices, at: now },
      { type: 'registration_deleted', ...about, at: now },
    ])
  })

  it('is told of a token that its server rejects', async () => {
    await visit()
    now += 120_000
    world.mcpServer.rejectAll = true
    await alice.open(`${gateway.url}/mcp/notes/page`)
    await alice.open(`${gateway.url}/mcp/notes/page`)
    expect(events.slice(2)).toMatchObject([
      { type: 'refreshed' },
      { type: 'needs_authorization', user: 'alice', reason: 'token_rejected' },
    ])
  })

  it('is told, once, of a token that has expired and cannot be refreshed', async () => {
    await stop()
    await start({ refreshTokens: 'never' })
    await visit()
    now += 300_000
    const pages = [1, 2, 3].map(() => alice.open(`${gateway.url}/mcp/notes/page`))
    for (const { status } of await Promise.all(pages)) expect(status).toBe(302)
    expect(events.slice(2)).toMatchObject([
      { type: 'needs_authorization', user: 'alice', reason: 'token_expired', at: now },
    ])
    expect(await gateway.dcr.connections('alice')).toMatchObject([
      { state: 'needs_authorization', reason: 'token_expired' },
    ])
    await visit()
    expect(await state()).toBe('connected')
  })

  it('is told of the connections that forgetting a server ends, then of its client', async () => {
    await visit()
    events.length = 0
    await gateway.dcr.forget('notes')
    expect(types()).toEqual(['disconnected', 'registration_deleted'])
  })

  it('is told of a client that is renewed by registering again, and of its deletion', async () => {
    await visit()
    const [{ id = '', clientId: former = '' } = {}] = await gateway.dcr.registrations.list()
    await gateway.dcr.disconnect('alice', 'notes')
    events.length = 0
    await gateway.dcr.registrations.renew(id)
    expect(types()).toEqual([])
    world.authorizationServer.forgetClient(former)
    await gateway.dcr.registrations.renew(id)
    const renewed = await clientId()
    expect(events.map((it) => [it.type, it.clientId])).toEqual([
      ['registered', renewed],
      ['registration_deleted', former],
    ])
    await gateway.dcr.registrations.delete(id)
    expect(events.slice(2)).toMatchObject([{ type: 'registration_deleted', clientId: renewed }])
  })

  it('is told once the change is stored', async () => {
    const states: unknown[] = []
    onEvent = async ({ type }) => void states.push([type, await state()])
    await visit()
    await gateway.dcr.disconnect('alice', 'notes')
    expect(states).toEqual([
      ['registered', 'not_connected'],
      ['connected', 'connected'],
      ['disconnected', 'not_connected'],
    ])
  })

  it('may itself change what it is told of', async () => {
    let disconnected: Promise<boolean> | undefined
    onEvent = async ({ type }) => {
      if (type === 'connected') await (disconnected = gateway.dcr.disconnect('alice', 'notes'))
    }
    await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
    expect([await disconnected, await state()]).toEqual([true, 'not_connected'])
  })

  it('hears no secret', async () => {
    const issued: string[] = []
    world.authorizationServer.provider.on('grant.success', ({ body }) =>
      issued.push(...Object.values(body as Record<string, unknown>).filter(isLong)),
    )
    await visit()
    now += 300_000
    await visit()
    await gateway.dcr.forget('notes')
    expect(types()).toEqual(['registered', 'connected', 'refreshed', 'disconnected', 'registration_deleted'])
    expect(issued.length).toBeGreaterThanOrEqual(4)
    for (const secret of issued) expect(JSON.stringify(events)).not.toContain(secret)
    const members = new Set(events.flatMap((event) => Object.keys(event)))
    expect([...members].sort()).toEqual(['at', 'clientId', 'issuer', 'server', 'type', 'user'])
  })

  it.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('the hook failed')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the hook failed'))],
    ['never settles', () => new Promise(() => undefined)],
  ])('that %s disturbs nothing', async (name, hook) => {
    onEvent = hook
    expect((await visit()).status).toBe(200)
    expect(await gateway.dcr.disconnect('alice', 'notes')).toBe(true)
    expect(types()).toEqual(['registered', 'connected', 'disconnected'])
    const logged = gateway.log.filter((line) => line.startsWith('error onEvent failed'))
    expect(logged).toHaveLength(name === 'never settles' ? 0 : 3)
    for (const line of logged) expect(line).toContain('Error: the hook failed')
  })

  it('that throws what is no error is logged too', () => {
    const logger = recordingLogger()
    const emit = createEmit(
      () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- that is the test
        throw 'no error'
      },
      { clock: Date.now, logger },
    )
    emit({ type: 'registered', server: 'notes', issuer: 'https://as.example', clientId: 'c1' })
    expect(logger.lines).toMatchObject([{ details: { error: 'no error', type: 'registered' } }])
  })
})

function isLong(value: unknown): value is string {
  return typeof value === 'string' && value.length > 20
}
