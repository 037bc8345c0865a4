/** An MCP server and its authorization server, on one origin: what the gateways stand in front of. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { listen, type Listening } from '../listen.js'
import { answerOrders } from '../processes.js'
import { authorizationServerOf } from '../fixtures.js'

export type Upstream = typeof orders

/** What was asked for since the start, by path; the token endpoint's answers by what they were. */
type Counts = Record<string, number>

type Handler = (req: IncomingMessage, res: ServerResponse) => void | Promise<void>

const SMALL = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  result: { content: [{ type: 'text', text: 'The small answer of a tool.' }] },
})
const CHUNK = Buffer.alloc(64 * 1024, 'x')
const EVENT = `event: message\ndata: ${SMALL}\n\n`

let listening: Listening | undefined
let counts: Counts = {}
let usedRefreshTokens = new Set<string>()

function count(what: string): void {
  counts[what] = (counts[what] ?? 0) + 1
}

function json(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** @param delay before each answer, in milliseconds */
async function start(delay: number): Promise<string> {
  listening?.close()
  counts = {}
  usedRefreshTokens = new Set()
  const handlers: Record<string, Handler> = {
    '/.well-known/oauth-protected-resource/mcp': (_req, res) =>
      json(res, 200, { resource: `${url}/mcp`, authorization_servers: [url], scopes_supported: ['notes'] }),
    '/.well-known/oauth-authorization-server': (_req, res) =>
      json(res, 200, { ...authorizationServerOf(url), response_types_supported: ['code'] }),
    '/register': register,
    '/token': token,
    '/mcp': guarded(call),
    '/mcp/events': guarded(openStream),
    '/mcp/large': guarded(transfer),
  }
  listening = await listen((req, res) => {
    const path = req.url?.split('?', 1)[0] ?? ''
    void (async () => {
      count(path)
      if (delay > 0) await sleep(delay)
      const handler = handlers[path]
      if (handler === undefined) json(res, 404, {})
      else await handler(req, res)
    })()
  })
  const { url } = listening
  return url
}

async function register(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const metadata = JSON.parse(await text(req)) as object
  json(res, 201, { ...metadata, client_id: `client-${counts['/register']}` })
}

/** Refresh tokens are for one use, as OAuth 2.1 §4.3.1 wants them of public clients. */
async function token(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const used = new URLSearchParams(await text(req)).get('refresh_token') ?? ''
  const [, user, generation] = /^refresh-(.*)-(\d+)$/.exec(used) ?? []
  if (user === undefined || usedRefreshTokens.has(used)) {
    count('refused')
    return json(res, 400, { error: 'invalid_grant' })
  }
  count('refreshed')
  usedRefreshTokens.add(used)
  json(res, 200, {
    access_token: `live-${user}`,
    token_type: 'Bearer',
    expires_in: 3600,
    refresh_token: `refresh-${user}-${Number(generation) + 1}`,
  })
}

function guarded(handler: Handler): Handler {
  return (req, res) => {
    if (req.headers.authorization?.startsWith('Bearer live-') === true) return handler(req, res)
    const metadata = `http://${req.headers.host}/.well-known/oauth-protected-resource/mcp`
    res.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` }).end()
  }
}

async function call(req: IncomingMessage, res: ServerResponse): Promise<void> {
  await text(req)
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': SMALL.length }).end(SMALL)
}

/** One event at once, then nothing until the client goes. */
function openStream(_req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  res.write(EVENT)
}

/** Sends as many bytes as a GET asks for; of a POST, takes all. */
async function transfer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.method === 'POST') {
    let received = 0
    for await (const chunk of req) received += (chunk as Buffer).length
    return json(res, 200, { received })
  }
  const bytes = Number(new URL(req.url ?? '', 'http://upstream').searchParams.get('bytes'))
  res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
  await pipeline(Readable.from(chunksOf(bytes)), res)
}

function* chunksOf(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= CHUNK.length) yield CHUNK.subarray(0, left)
}

const orders = {
  start,
  counts: (): Counts => counts,
}

answerOrders(orders)
