import express, { type Express, type RequestHandler } from 'express'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { express4, startWorld, type World } from '../support/gateway.js'
import {
  CALL,
  expectations,
  initialize,
  modernCall,
  modernRetry,
  postMcp,
  rpc,
  URLS,
  type Answer,
  type Json,
} from '../support/mcp-caller.js'
import type { McpServer } from '../support/mcp-server.js'
import { browserOf } from '../support/visit.js'

let world: World
let calendar: McpServer
let gateway: DcrGateway
let options: Options
/** What the handler has found in its request's body. */
let seen: unknown[]
/** The servers that the handler asks, in this order. */
let asks: string[]

beforeEach(async () => {
  options = {}
  seen = []
  asks = ['notes']
  world = await startWorld()
  calendar = await world.addMcpServer()
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const PARSED: RequestHandler[] = [express.json({ limit: '10mb' })]
const STREAMED: RequestHandler[] = [
  async (req, _res, next) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    req.body = JSON.parse(Buffer.concat(chunks).toString())
    next()
  },
]

/** A gateway whose own MCP endpoint `/h` asks MCP servers by `req.mcp.fetch`. */
async function start({
  parsers = PARSED,
  version = express,
  servers = { notes: world.mcpServer.url, calendar: calendar.url },
}: { parsers?: RequestHandler[]; version?: typeof express; servers?: Record<string, string> } = {}) {
  const urls: Record<string, string> = { notes: world.mcpServer.url, calendar: calendar.url }
  gateway = await startDcrGateway({
    servers,
    express: version,
    options: () => ({ elicitationWait: 0, ...options }),
    routes: (app: Express) => {
      app.post(['/h', '/other'], ...parsers, (req, res, next) => {
        seen.push(req.body)
        const { id, method } = req.body as Json
        if (method === 'initialize') return void res.set('mcp-session-id', 'of-the-gateway').json({ id })
        Promise.all(asks.map((name) => req.mcp.fetch(`${urls[name]}/page`)))
          .then(() => res.json({ jsonrpc: '2.0', id, result: { served: true } }))
          .catch(next)
      })
    },
  })
}

const connectUrl = (server = 'notes'): string =>
  `${gateway.url}/api/oauth/authorize/${encodeURIComponent(server)}`
const { expectElicitation, expectToolText, expectInputRequired } = expectations(connectUrl)

const post = (body: unknown, headers?: Record<string, string>, path = '/h', user?: string): Promise<Answer> =>
  postMcp(gateway.url + path, body, headers, user)

async function signIn(server?: string): Promise<void> {
  const page = await browserOf('alice', gateway.url).signIn(connectUrl(server), { login: 'alice' })
  expect(page.text).toContain('Connected')
}

const expectServed = ({ status, body }: Answer): void =>
  expect([status, body.result]).toEqual([200, { served: true }])

describe.each<[string, RequestHandler[]]>([
  ['parses its body', PARSED],
  ['reads its body as a stream', STREAMED],
])('a route of the gateway’s own that %s', (_name, parsers) => {
  it.each([
    ['Express 5', express],
    ['Express 4', express4],
  ])('asks a client of 2026-07-28 for input, until its person has signed in (%s)', async (_v, version) => {
    await start({ parsers, version })
    const own = { requestState: 'the route’s own', inputResponses: { name: { action: 'accept' } } }
    let state = expectInputRequired(await post(modernCall(own)))
    state = expectInputRequired(await post(modernRetry(state)))
    await signIn()
    expectServed(await post(modernRetry(state)))
    expect(seen).toEqual(Array(3).fill(modernCall(own)))
  })

  it('asks a client of 2025-11-25 by what it has said at the start of its session there', async () => {
    await start({ parsers })
    await post(initialize(URLS))
    const headers = { 'mcp-session-id': 'of-the-gateway', 'mcp-protocol-version': '2025-11-25' }
    expectElicitation(await post(rpc('tools/call', CALL), headers))
    expectElicitation(await post(rpc('tools/list', {}, 'a'), headers), 'a')
    expectToolText(await post(rpc('tools/call', CALL), { ...headers, 'mcp-session-id': 'another' }))
    expectToolText(await post(rpc('tools/call', CALL), headers, '/other'))
    expectToolText(await post(rpc('tools/call', CALL), headers, '/mcp/notes'))
  })

  it('says it in words to a client that opens no URLs', async () => {
    await start({ parsers })
    expectToolText(await post(rpc('tools/call', CALL)))
    expectToolText(await post(modernCall({}, {})))
  })
})

describe('a retry on a route of the gateway’s own', () => {
  it('is held until its person has signed in to the server that it needs', async () => {
    options = { elicitationWait: 600_000 }
    asks = ['calendar']
    await start()
    const { body } = await post(modernCall())
    expect(JSON.stringify(body)).toContain(connectUrl('calendar'))
    const held = post(modernRetry(body.result?.['requestState']))
    await signIn('notes')
    await signIn('calendar')
    expectServed(await held)
    expect(seen).toHaveLength(2)
  })

  it('is asked for the sign-in to one server after the other', async () => {
    asks = ['notes', 'calendar']
    await start()
    const first = await post(modernCall())
    const waitsFor = (answer: Answer): string | undefined =>
      /authorize\/(\w+)/.exec(JSON.stringify(answer.body.result?.['inputRequests']))?.[1]
    const one = waitsFor(first) as string
    await signIn(one)
    const second = await post(modernRetry(first.body.result?.['requestState']))
    const two = waitsFor(second) as string
    expect([one, two].sort()).toEqual(['calendar', 'notes'])
    await signIn(two)
    expectServed(await post(modernRetry(second.body.result?.['requestState'])))
  })

  it.each<[string, (state: string) => Promise<Answer>]>([
    ['of another route', (state) => post(modernRetry(state), {}, '/other')],
    ['of a server’s path', (state) => post(modernRetry(state), {}, '/mcp/notes')],
    ['of another user', (state) => post(modernRetry(state), {}, '/h', 'bob')],
    ['of another request', (state) => post(modernRetry(state, 'accept', { name: 'count' }))],
  ])('is refused with a requestState that is %s', async (_name, use) => {
    await start()
    const state = expectInputRequired(await post(modernCall()))
    seen.length = 0
    const { body } = await use(state)
    expect(body.result?.['_meta']).toEqual({
      'mcp-dcr/error': expect.objectContaining({ code: 'invalid_request' }) as object,
    })
    expect(seen).toEqual([])
  })

  it('is refused with a requestState of another server’s path, too', async () => {
    await start()
    const state = expectInputRequired(await post(modernCall(), {}, '/mcp/notes'))
    const { body } = await post(modernRetry(state), {}, '/mcp/calendar')
    expect(JSON.stringify(body)).toContain('invalid_request')
    expectInputRequired(await post(modernRetry(state), {}, '/mcp/notes'))
  })

  it('whose person has declined is told so, and does not reach the handler', async () => {
    await start()
    const state = expectInputRequired(await post(modernCall()))
    expect(JSON.stringify((await post(modernRetry(state, 'decline'))).body)).toContain('declined')
    expect(seen).toHaveLength(1)
  })

  it('works in a gateway that declares no servers', async () => {
    await start({ servers: {} })
    const server = encodeURIComponent(world.mcpServer.url)
    const answer = await post(modernCall())
    expect(JSON.stringify(answer.body)).toContain(`/api/oauth/authorize/${server}`)
    const state = answer.body.result?.['requestState']
    expect(state).toMatch(/^mcp-dcr/)
    await signIn(world.mcpServer.url)
    expectServed(await post(modernRetry(state)))
  })
})

describe('a route of the gateway’s own', () => {
  it('asks for no input that a retry could not bring back: one that is too long to be read ahead', async () => {
    await start()
    expectToolText(await post(modernCall({ filler: 'x'.repeat(4 * 1024 * 1024) })))
  })

  it('has the body of whoever is no MCP client for itself alone', async () => {
    await start({ parsers: STREAMED })
    const answer = await post(modernCall(), { accept: 'application/json' })
    expectToolText(answer)
    expect(seen).toEqual([modernCall()])
  })
})
