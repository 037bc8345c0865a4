import { Agent, get as httpGet, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import compression from 'compression'
import type { Express, RequestHandler, Response } from 'express'
import helmet from 'helmet'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { intercept, type Decide } from '../../src/gateway/intercept.js'
import {
  ANSWER,
  ANSWER_TEXT,
  ask,
  CHALLENGE,
  closeAll,
  EXPRESSES,
  listen,
  UPSTREAM_TEXT,
} from './intercept-support.js'

const LONG_TEXT = UPSTREAM_TEXT.repeat(5000)
const UPSTREAM_HEADERS = {
  'www-authenticate': CHALLENGE,
  'x-upstream': 'yes',
  'set-cookie': 'upstream=1',
  date: 'Thu, 01 Jan 1970 00:00:00 GMT',
  'content-type': 'text/html',
}

/** An MCP server that answers 401 in every way. */
function upstream(req: IncomingMessage, res: ServerResponse): void {
  for (const [name, value] of Object.entries(UPSTREAM_HEADERS)) res.setHeader(name, value)
  switch (req.url ?? '/') {
    case '/gzip': {
      const body = gzipSync(LONG_TEXT)
      res.writeHead(401, 'Nope', { 'content-encoding': 'gzip', 'content-length': body.length }).end(body)
      break
    }
    case '/chunked':
      res.writeHead(401, 'Nope', req.method === 'HEAD' ? {} : { trailer: 'x-trailer' })
      res.write(LONG_TEXT)
      res.addTrailers({ 'x-trailer': 'yes' })
      res.end(LONG_TEXT)
      break
    case '/length':
      res.writeHead(401, 'Nope', { 'content-length': Buffer.byteLength(LONG_TEXT) }).end(LONG_TEXT)
      break
    default:
      res.writeHead(401, 'Nope', { 'content-length': '0' }).end()
  }
}

let upstreamUrl: string
const keepAlive = new Agent({ keepAlive: true })

beforeAll(async () => {
  upstreamUrl = (await listen(upstream)).url
})
afterAll(async () => {
  keepAlive.destroy()
  await closeAll()
})

const proxy = (path: string): RequestHandler =>
  createProxyMiddleware({
    target: upstreamUrl,
    agent: keepAlive,
    pathRewrite: () => path,
  })

const relayFetch =
  (path: string): RequestHandler =>
  async (req, res) => {
    const answer = await fetch(`${upstreamUrl}${path}`, { method: req.method })
    res.status(answer.status)
    answer.headers.forEach((value, name) => {
      if (!['content-encoding', 'content-length', 'transfer-encoding', 'connection'].includes(name))
        res.append(name, value)
    })
    if (answer.body === null) res.end()
    else await pipeline(Readable.fromWeb(answer.body), res)
  }

const relayRaw =
  (path: string): RequestHandler =>
  (_req, res) => {
    httpGet(`${upstreamUrl}${path}`, (answer) => {
      res.writeHead(answer.statusCode ?? 0, answer.statusMessage ?? '', answer.rawHeaders)
      answer.pipe(res)
    })
  }

const UNAUTHORIZED = (res: Response): Response => res.status(401).set(UPSTREAM_HEADERS)

/** Each way in which a gateway's own handler comes to answer 401. */
const HANDLERS: Record<string, (express: () => Express) => RequestHandler> = {
  'send()': () => (_req, res) => void UNAUTHORIZED(res).send(UPSTREAM_TEXT),
  'json()': () => (_req, res) => void UNAUTHORIZED(res).json({ error: UPSTREAM_TEXT }),
  'sendStatus()': () => (_req, res) => void res.set(UPSTREAM_HEADERS).sendStatus(401),
  'end()': () => (_req, res) => void UNAUTHORIZED(res).end(),
  'end(body, encoding, callback)': () => (_req, res) =>
    void UNAUTHORIZED(res).end(UPSTREAM_TEXT, 'utf8', () => undefined),
  'write() and end()': () => (_req, res) => {
    UNAUTHORIZED(res).write(UPSTREAM_TEXT)
    res.end(UPSTREAM_TEXT)
  },
  'flushHeaders() and end()': () => (_req, res) => {
    UNAUTHORIZED(res).flushHeaders()
    res.end(UPSTREAM_TEXT)
  },
  'writeHead() with an object': () => (_req, res) =>
    void res.writeHead(401, { 'WWW-Authenticate': CHALLENGE, 'x-upstream': 'yes' }).end(UPSTREAM_TEXT),
  'writeHead() with a reason and pairs': () => (_req, res) =>
    void res
      .writeHead(401, 'Nope', [
        ['WWW-Authenticate', CHALLENGE],
        ['x-upstream', 'yes'],
      ] as never)
      .end(UPSTREAM_TEXT),
  'writeHead() with a flat array': () => (_req, res) =>
    void res.writeHead(401, ['WWW-Authenticate', CHALLENGE, 'x-upstream', 'yes']).end(UPSTREAM_TEXT),
  'a stream': () => (_req, res) => {
    res.writeHead(401, UPSTREAM_HEADERS)
    Readable.from([LONG_TEXT, LONG_TEXT]).pipe(res)
  },
  'trailers and a closed connection': () => (_req, res) => {
    res.writeHead(401, { ...UPSTREAM_HEADERS, connection: 'close', trailer: 'x-trailer' })
    res.write(LONG_TEXT)
    res.addTrailers({ 'x-trailer': 'yes' })
    res.end()
  },
  'a mounted sub-app': (express) => {
    const inner = express()
    inner.use((_req, res) => void UNAUTHORIZED(res).send(UPSTREAM_TEXT))
    const outer = express()
    outer.use('/', inner)
    return outer
  },
  'next(error)': () => (_req, res, next) => {
    res.set(UPSTREAM_HEADERS)
    next(Object.assign(new Error(UPSTREAM_TEXT), { status: 401, headers: { 'www-authenticate': CHALLENGE } }))
  },
  'fetch, no body': () => relayFetch('/empty'),
  'fetch, gzip': () => relayFetch('/gzip'),
  'fetch, chunked': () => relayFetch('/chunked'),
  'http.request, content-length': () => relayRaw('/length'),
  'http.request, chunked': () => relayRaw('/chunked'),
  'http-proxy-middleware, no body': () => proxy('/empty'),
  'http-proxy-middleware, gzip': () => proxy('/gzip'),
  'http-proxy-middleware, chunked': () => proxy('/chunked'),
  'http-proxy-middleware, content-length': () => proxy('/length'),
}

/** Like express-session: a cookie at the head, and an end that first saves. */
const session: RequestHandler = (_req, res, next) => {
  onHead(res, () => res.appendHeader('set-cookie', 'session=1'))
  const { end, write } = res
  res.end = ((chunk?: unknown, encoding?: BufferEncoding) => {
    setImmediate(() => {
      if (!res.headersSent) (res as unknown as { _implicitHeader(): void })._implicitHeader()
      const bytes = chunk === undefined ? undefined : Buffer.from(chunk as string, encoding)
      if (bytes === undefined) return end.call(res, undefined, 'utf8')
      write.call(res, bytes.subarray(0, -1), 'utf8')
      return end.call(res, bytes.subarray(-1), 'utf8')
    })
    return res
  }) as typeof res.end
  next()
}

/** Like morgan and response-time, through on-headers. */
const logger: RequestHandler = (_req, res, next) => {
  onHead(res, () => res.setHeader('x-response-time', '1'))
  next()
}

function onHead(res: Response, listener: () => void): void {
  const { writeHead } = res
  let fired = false
  res.writeHead = function (this: Response, ...args: [number]) {
    if (!fired) {
      fired = true
      listener()
    }
    return writeHead.apply(this, args)
  } as typeof res.writeHead
}

const STACKS: Record<string, { before?: RequestHandler[]; after?: RequestHandler[] }> = {
  nothing: {},
  'helmet before': { before: [helmet()] },
  'compression before': { before: [compression({ threshold: 0 })] },
  'compression after': { after: [compression({ threshold: 0 })] },
  'a session before': { before: [session] },
  'a session after': { after: [session] },
  'a logger before': { before: [logger] },
  'a logger after': { after: [logger] },
  'compression, then a session before, and both after': {
    before: [compression({ threshold: 0 }), session],
    after: [session, compression({ threshold: 0 })],
  },
}

const watching =
  (decide: Decide, onPassed?: (status: number) => void): RequestHandler =>
  (_req, res, next) => {
    intercept(res, decide, onPassed)
    next()
  }

describe.each(EXPRESSES)('a replaced 401, %s', (_version, express) => {
  describe.each(Object.entries(STACKS))('with %s', (stack, { before = [], after = [] }) => {
    it.each(Object.entries(HANDLERS))('from %s', async (_handler, create) => {
      const decide = vi.fn<Decide>(() => () => Promise.resolve(ANSWER))
      const onPassed = vi.fn()
      const app = express()
      for (const middleware of before) app.use(middleware)
      app.use(watching(decide, onPassed))
      for (const middleware of after) app.use(middleware)
      app.use(create(express))
      const gateway = await listen(app)

      const client = new Agent({ keepAlive: true, maxSockets: 1 })
      for (const method of ['GET', 'HEAD', 'POST']) {
        const body = method === 'POST' ? 'x'.repeat(100) : undefined
        const received = await ask(`${gateway.url}/`, {
          method,
          agent: client,
          headers: { 'accept-encoding': 'gzip' },
          ...(body !== undefined && { body }),
        })
        expect(received).toMatchObject({
          status: 302,
          statusMessage: 'Found',
          body: method === 'HEAD' ? '' : ANSWER_TEXT,
          headers: { location: '/sign-in', 'content-type': 'text/plain' },
        })
        const { headers } = received
        expect(headers['www-authenticate']).toBeUndefined()
        expect(headers['x-upstream']).toBeUndefined()
        expect(headers.trailer).toBeUndefined()
        expect(received.trailers).toEqual({})
        expect(new Date(headers.date ?? 0).getFullYear()).toBeGreaterThan(2000)
        const cookies = ['flow=1; Path=/', 'flow=2; Path=/']
        if (before.includes(session)) cookies.push('session=1')
        expect(headers['set-cookie']).toEqual(cookies)
        if (!stack.startsWith('compression') || stack === 'compression after') {
          expect(headers['content-encoding']).toBeUndefined()
          expect(headers['content-length']).toBe(String(ANSWER_TEXT.length))
        }
        if (stack === 'helmet before') expect(headers['content-security-policy']).toBeDefined()
        if (stack === 'a logger before') expect(headers['x-response-time']).toBe('1')
        expect(decide.mock.lastCall).toEqual([401, [CHALLENGE]])
      }
      expect(decide).toHaveBeenCalledTimes(3)
      expect(onPassed).not.toHaveBeenCalled()
      expect(gateway.connections()).toBe(1)
      client.destroy()
      await gateway.close()
    })
  })
})

describe('the upstream’s connection', () => {
  it('is used again after a 401 whose body was dropped', async () => {
    const server = await listen(upstream)
    const [agent, client] = [new Agent({ keepAlive: true }), new Agent({ keepAlive: true })]
    const [, express] = EXPRESSES[0]
    const app = express()
    app.use(watching(() => () => Promise.resolve(ANSWER)))
    app.use(createProxyMiddleware({ target: server.url, agent }) as unknown as RequestHandler)
    const gateway = await listen(app)
    for (const path of ['/length', '/chunked', '/gzip']) {
      expect((await ask(gateway.url + path, { agent: client })).status).toBe(302)
    }
    expect(server.connections()).toBe(1)
    agent.destroy()
    client.destroy()
  })
})
