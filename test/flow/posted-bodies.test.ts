import { once } from 'node:events'
import { createServer, IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Express, RequestHandler } from 'express'
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import type { Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { gate } from '../store/support.js'
import { CALL, expectations, MCP, modernCall, postMcp, rpc } from '../support/mcp-caller.js'
import { createPerson } from '../support/person.js'

let world: World
let gateway: DcrGateway
let now: number
let logged: ((message: string) => void) | undefined

beforeEach(async () => {
  now = Date.now()
  logged = undefined
  world = await startWorld()
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const { expectToolText } = expectations(() => `${gateway.url}/api/oauth/authorize/notes`)

/** A gateway whose handler is not a proxy, after another middleware. */
async function start(
  handler?: RequestHandler,
  before?: RequestHandler,
  user?: Options['user'],
): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      clock: () => now,
      ...(user !== undefined && { user }),
      ...(logged !== undefined && { logger: { debug: logged, info: logged, warn: logged, error: logged } }),
    }),
    ...(before !== undefined && { before: (app: Express) => void app.use(before) }),
    ...(handler !== undefined && { routes: (app: Express) => void app.post('/mcp/notes', handler) }),
  })
}

const BODY = JSON.stringify(rpc('tools/call', CALL))

/** Sends a head that announces the whole body, and so much of it. */
function postTo(port: number, part: string): Socket {
  const headers = { ...MCP, 'x-user': 'alice', 'content-length': String(BODY.length), connection: 'close' }
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const socket = connect(port, 'localhost')
  socket.write(`POST /mcp/notes HTTP/1.1\r\nhost: localhost\r\n${head.join('')}\r\n${part}`)
  return socket
}

/** At the head, whatever comes after it; and what it says cannot be followed. */
const refuse: RequestHandler = (_req, res) =>
  void res
    .status(401)
    .set('www-authenticate', 'Bearer resource_metadata="ftp://elsewhere.example.com/"')
    .end()

it('an answer waits for the body of the request that it names', async () => {
  const failed = gate()
  logged = (message) => {
    if (/^\w+: /.test(message)) failed.open()
  }
  await start(refuse)
  const socket = postTo(gateway.port, BODY.slice(0, 9))
  await failed.opened
  socket.write(BODY.slice(9))
  expect(await text(socket)).toContain(`"id":${rpc('').id as number}`)
})

const post = (body: unknown = rpc('tools/call', CALL)): ReturnType<typeof postMcp> =>
  postMcp(`${gateway.url}/mcp/notes`, body)

it.each<[string, RequestHandler]>([
  [
    'that has a push of its own',
    (req, _res, next) => {
      // Bound before Express was asked.
      req.push = IncomingMessage.prototype.push.bind(req)
      next()
    },
  ],
  ['that has come before the middleware', (_req, _res, next) => void setImmediate(next)],
  [
    'for whose reader an encoding is set',
    (req, _res, next) => {
      req.setEncoding('utf8')
      next()
    },
  ],
  [
    'for whose reader an encoding is set, and that has come before the middleware,',
    (req, _res, next) => {
      req.setEncoding('utf8')
      setImmediate(next)
    },
  ],
])('a body %s is known, and goes on', async (_name, before) => {
  await start(undefined, before)
  expectToolText(await post())
  expect(world.mcpServer.requests.find(({ method }) => method === 'POST')?.body).toBe(BODY)
})

it.each([16 * 1024, 16 * 1024 + 1])('so is one of %i bytes', async (length) => {
  await start()
  const message = rpc('tools/call', { ...CALL, padding: '' })
  const padding = 'x'.repeat(length - JSON.stringify(message).length)
  const long = rpc('tools/call', { ...CALL, padding })
  expectToolText(await post(long))
  const received = world.mcpServer.requests.find(({ method }) => method === 'POST')?.body
  expect([received?.length, received === JSON.stringify(long)]).toEqual([length, true])
})

it('a connected person’s request reaches its handler in the turn in which it came', async () => {
  const inTurn: boolean[] = []
  let isInTurn = false
  await start(
    (req, res) => {
      inTurn.push(isInTurn)
      void text(req).then((body) => res.json([body, req.get('authorization')?.slice(0, 7)]))
    },
    (_req, _res, next) => {
      isInTurn = true
      next()
      isInTurn = false
    },
  )
  const person = createPerson()
  person.setCookie(gateway.url, 'user=alice; Path=/')
  await person.signIn(`${gateway.url}/api/oauth/authorize/notes`)
  // What was looked up a second ago is looked up anew.
  for (const passed of [0, 1000, 0]) {
    now += passed
    expect((await post()).body).toEqual([BODY, 'Bearer '])
  }
  expect(inTurn).toEqual([true, false, true])
})

it('what a client’s header does not say too is no 2026-07-28', async () => {
  await start()
  const answer = await postMcp(`${gateway.url}/mcp/notes`, modernCall(), {
    'mcp-protocol-version': '2025-11-25',
  })
  expectToolText(answer)
})

it('a user whom an async function names is none of another Promise’s', async () => {
  const native = globalThis.Promise
  onTestFinished(() => {
    globalThis.Promise = native
  })
  await start(
    (req, res) => void res.json([req.get('authorization')]),
    undefined,
    () => native.reject(new Error('The session store is gone.')),
  )
  globalThis.Promise = class extends native<unknown> {} as PromiseConstructor
  const answer = await fetch(`${gateway.url}/mcp/notes`, { method: 'POST', headers: MCP, body: BODY })
  expect([answer.status, await answer.json()]).toMatchObject([500, { code: 'internal_error' }])
})

it('is not waited for beyond what comes without anybody’s reading it', async () => {
  await start(refuse)
  const { app } = gateway
  const server = createServer({ highWaterMark: 64 }, app).listen(0)
  await once(server, 'listening')
  onTestFinished(() => void server.close().closeAllConnections())
  const { port } = server.address() as AddressInfo
  const socket = postTo(port, BODY.slice(0, 70))
  await once(server, 'request')
  socket.write(BODY.slice(70))
  expect(await text(socket)).toContain(`"id":${rpc('').id as number}`)
})
