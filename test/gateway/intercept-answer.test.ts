import { once } from 'node:events'
import { Agent, createServer, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import compression from 'compression'
import express, { type RequestHandler } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterEach, describe, expect, it } from 'vitest'
import { intercept, type Answer } from '../../src/gateway/intercept.js'
import {
  ANSWER,
  ANSWER_TEXT,
  ask,
  CHALLENGE,
  closeAll,
  deferred,
  head,
  listen,
  UPSTREAM_TEXT,
} from './intercept-support.js'

const watching =
  (produce: () => Promise<Answer>): RequestHandler =>
  (_req, res, next) => {
    intercept(res, () => produce)
    next()
  }

/** A gateway that replaces the 401 of one handler. */
function gatewayOf(handler: RequestHandler, produce: () => Promise<Answer> = () => Promise.resolve(ANSWER)) {
  return listen(express().use(watching(produce), handler))
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

afterEach(closeAll)

it('takes the place of what is sent by an object that inherits from the response', async () => {
  const { url } = await gatewayOf((_req, res) => {
    const derived = Object.create(res) as express.Response
    derived.writeHead(401, { 'www-authenticate': CHALLENGE })
    derived.end(UPSTREAM_TEXT)
  })
  expect(await ask(url)).toMatchObject({ status: ANSWER.status, body: ANSWER_TEXT })
})

describe('the headers of an answer', () => {
  it('are those that were there before the watch began, and its own', async () => {
    const app = express()
    app.use((_req, res, next) => {
      res.set({ 'X-Kept': 'as it was', 'X-Both': 'before', 'Content-Length': '5', 'Content-Encoding': 'x' })
      res.set({ 'WWW-Authenticate': 'Basic', Vary: ['Origin', 'Accept'] })
      res.cookie('before', '1')
      res.cookie('before', '2')
      next()
    })
    app.use(
      watching(() =>
        Promise.resolve({ status: 200, headers: { 'x-both': 'answer', 'Set-Cookie': 'flow=1' } }),
      ),
    )
    app.use((_req, res) => {
      res.set({ 'X-Kept': 'changed', 'X-New': 'new', 'Transfer-Encoding': 'chunked' })
      res.removeHeader('vary')
      res.removeHeader('date')
      res.appendHeader('set-cookie', 'between=1')
      res.status(401).end(UPSTREAM_TEXT)
    })
    const { status, headers } = await ask((await listen(app)).url)
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'x-kept': 'as it was',
      'x-both': 'answer',
      vary: 'Origin, Accept',
      'content-length': '0',
      date: expect.any(String) as string,
      'set-cookie': ['before=1; Path=/', 'before=2; Path=/', 'flow=1'],
    })
    for (const name of ['x-new', 'content-encoding', 'transfer-encoding', 'www-authenticate']) {
      expect(headers[name]).toBeUndefined()
    }
  })

  it('say the length in bytes', async () => {
    const gateway = await gatewayOf(
      (_req, res) => void res.sendStatus(401),
      () => Promise.resolve({ status: 401, headers: {}, body: '“é”' }),
    )
    expect(await ask(gateway.url)).toMatchObject({ headers: { 'content-length': '8' }, body: '“é”' })
    const answer = await ask(gateway.url, { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 401, headers: { 'content-length': '8' }, body: '' })
  })

  it('have no length where there can be none', async () => {
    const gateway = await gatewayOf(
      (_req, res) => void res.sendStatus(401),
      () => Promise.resolve({ status: 204, headers: {} }),
    )
    const { status, headers } = await ask(gateway.url)
    expect(status).toBe(204)
    expect(headers['content-length']).toBeUndefined()
  })

  it('are not shared between responses', async () => {
    const app = express()
    app.use((_req, res, next) => {
      const { writeHead } = res
      res.writeHead = ((status: number) => {
        res.appendHeader('set-cookie', 'session=1')
        return writeHead.call(res, status)
      }) as typeof res.writeHead
      next()
    })
    app.use(
      watching(() => Promise.resolve(ANSWER)),
      (_req, res) => void res.sendStatus(401),
    )
    const { url } = await listen(app)
    for (let i = 0; i < 2; i++) expect((await ask(url)).headers['set-cookie']).toHaveLength(3)
  })

  it('go out through what was mounted before, even where that calls the response’s methods anew', async () => {
    const app = express()
    app.use((_req, res, next) => {
      const { end } = res
      res.end = ((body: string) => {
        res.write(body.slice(0, 3))
        res.write(body.slice(3))
        return end.call(res, undefined, 'utf8')
      }) as typeof res.end
      next()
    })
    app.use(
      watching(() => Promise.resolve(ANSWER)),
      (_req, res) => void res.sendStatus(401),
    )
    expect(await ask((await listen(app)).url)).toMatchObject({ status: 302, body: ANSWER_TEXT })
  })

  it('pass through the compression that was mounted before', async () => {
    const body = ANSWER_TEXT.repeat(1000)
    const app = express().use(compression())
    app.use(watching(() => Promise.resolve({ status: 200, headers: { 'content-type': 'text/html' }, body })))
    app.use((_req, res) => void res.sendStatus(401))
    const received = await ask((await listen(app)).url, { headers: { 'accept-encoding': 'gzip' } })
    expect(received.headers['content-encoding']).toBe('gzip')
    expect(received.body).toBe(body)
  })
})

describe('an answer that cannot be made', () => {
  it.each([
    ['rejects', () => Promise.reject(new Error('secret'))],
    [
      'throws',
      () => {
        throw new Error('secret')
      },
    ],
    [
      'has an illegal header',
      () => Promise.resolve({ status: 302, headers: { location: 'secret\n' }, body: 'secret' }),
    ],
    [
      'has an illegal status',
      () => Promise.resolve({ status: 99, headers: { 'x-secret': 'secret' }, body: 'secret' }),
    ],
  ])('is a plain 500 where it %s', async (_title, produce) => {
    const app = express().use(watching(produce))
    app.use((_req, res) => void res.status(401).send(UPSTREAM_TEXT))
    const received = await ask((await listen(app)).url)
    expect(received).toMatchObject({ status: 500, headers: { 'content-type': 'application/problem+json' } })
    expect(JSON.parse(received.body)).toMatchObject({ status: 500, code: 'internal_error' })
    expect(JSON.stringify(received)).not.toContain('secret')
  })

  it('is a plain 500 where the decision throws', async () => {
    const app = express().use((_req, res) => {
      intercept(res, () => {
        throw new Error('secret')
      })
      res.sendStatus(401)
    })
    expect(await ask((await listen(app)).url)).toMatchObject({
      status: 500,
      statusMessage: 'Internal Server Error',
    })
  })

  it('ends the connection where not even that can be sent', async () => {
    const app = express()
    app.use((_req, res, next) => {
      res.writeHead = () => {
        throw new Error('no')
      }
      next()
    })
    app.use(
      watching(() => Promise.resolve(ANSWER)),
      (_req, res) => void res.status(401).end(),
    )
    await expect(ask((await listen(app)).url)).rejects.toThrow('socket hang up')
  })
})

describe('a client that goes away', () => {
  it('while the answer is being made, causes no error', async () => {
    const asked = deferred()
    const gone = deferred()
    const produced = deferred<Answer>()
    const handled = deferred<ServerResponse>()
    const gateway = await gatewayOf(
      (req, res) => {
        if (req.url === '/next') return void res.send('next')
        res.once('close', () => gone.resolve())
        handled.resolve(res)
        res.status(401).write(UPSTREAM_TEXT)
      },
      () => {
        asked.resolve()
        return produced.promise
      },
    )
    const req = request(gateway.url, { agent: false })
    const failed = once(req, 'error')
    req.end()
    await asked.promise
    req.destroy(new Error('gone'))
    await failed
    await gone.promise
    const res = await handled.promise
    const ended = deferred()
    res.write(UPSTREAM_TEXT)
    res.end(UPSTREAM_TEXT, () => ended.resolve())
    await ended.promise
    produced.resolve(ANSWER)
    await turn()
    expect(res.headersSent).toBe(false)
    expect((await ask(`${gateway.url}/next`)).body).toBe('next')
  })

  it('while http-proxy-middleware relays the 401, ends the upstream’s response', async () => {
    const upstreamClosed = deferred()
    const upstream = await listen((_req, res) => {
      res.once('close', () => upstreamClosed.resolve())
      res.writeHead(401, { 'www-authenticate': CHALLENGE })
      res.write(UPSTREAM_TEXT)
    })
    const asked = deferred()
    const gateway = await gatewayOf(createProxyMiddleware({ target: upstream.url }), () => {
      asked.resolve()
      return new Promise(() => undefined)
    })
    const req = request(gateway.url, { agent: false }).on('error', () => undefined)
    req.end()
    await asked.promise
    req.destroy()
    await upstreamClosed.promise
  })
})

describe('a handler that goes on after its 401', () => {
  it('may write, end, set headers, flush and fail before the answer is made', async () => {
    const produced = deferred<Answer>()
    const gateway = await gatewayOf(
      async (_req, res, next) => {
        const written = deferred()
        const ended = deferred()
        res
          .status(401)
          .set('www-authenticate', CHALLENGE)
          .end(UPSTREAM_TEXT, () => ended.resolve())
        expect(res.headersSent).toBe(false)
        expect(res.write(UPSTREAM_TEXT, 'utf8', () => written.resolve())).toBe(true)
        await written.promise
        res.setHeader('x-late', '1')
        res.status(500).writeHead(500, { 'x-late': '2' }).end(UPSTREAM_TEXT)
        res.flushHeaders()
        res.destroy()
        next(new Error(UPSTREAM_TEXT))
        produced.resolve(ANSWER)
        await ended.promise
      },
      () => produced.promise,
    )
    const received = await ask(gateway.url)
    expect(received).toMatchObject({ status: 302, body: ANSWER_TEXT })
    expect(received.headers['x-late']).toBeUndefined()
  })

  it('may do the same, and fail, while the answer is on its way', async () => {
    const body = ANSWER_TEXT.repeat(4_000_000)
    const late = deferred()
    const gateway = await gatewayOf(
      async (_req, res, next) => {
        res.status(401).end(UPSTREAM_TEXT)
        while (!res.writableEnded) await turn()
        expect(res.writableFinished).toBe(false)
        expect(res.write(UPSTREAM_TEXT)).toBe(true)
        res.setHeader('x-late', '1')
        res.appendHeader('x-late', '2')
        res.removeHeader('location')
        res.writeEarlyHints({ link: '</late>; rel=preload' })
        res.addTrailers({ 'x-late': '3' })
        res.end(UPSTREAM_TEXT)
        res.destroy()
        next(new Error(UPSTREAM_TEXT))
        late.resolve()
      },
      () => Promise.resolve({ status: 200, headers: {}, body }),
    )
    const res = await head(gateway.url)
    await late.promise
    let length = 0
    for await (const chunk of res) length += (chunk as Buffer).length
    expect(length).toBe(body.length)
    expect(res.complete).toBe(true)
  })

  it('may do the same once the answer is out, and sees that it is', async () => {
    const after = deferred<boolean>()
    const gateway = await gatewayOf(async (_req, res) => {
      const finished = once(res, 'finish')
      res.status(401).end(UPSTREAM_TEXT)
      await finished
      const written = deferred()
      const ended = deferred()
      res.write(UPSTREAM_TEXT, () => written.resolve())
      res.end(() => ended.resolve())
      res.setHeader('x-late', '1')
      await Promise.all([written.promise, ended.promise])
      after.resolve(res.headersSent)
    })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let i = 0; i < 2; i++) expect((await ask(gateway.url, { agent })).body).toBe(ANSWER_TEXT)
    expect(await after.promise).toBe(true)
    expect(gateway.connections()).toBe(1)
    agent.destroy()
  })

  it('leaves loggers the true status and head', async () => {
    const logged = deferred<[number, boolean, unknown]>()
    const app = express().use((_req, res, next) => {
      res.once('finish', () => logged.resolve([res.statusCode, res.headersSent, res.getHeader('location')]))
      next()
    })
    app.use(
      watching(() => Promise.resolve(ANSWER)),
      (_req, res) => void res.sendStatus(401),
    )
    await ask((await listen(app)).url)
    expect(await logged.promise).toEqual([302, true, '/sign-in'])
  })
})

describe('an upstream that breaks off in the middle of its 401', () => {
  async function brokenUpstream(): Promise<{ url: string; breakOff(): void }> {
    const sockets: Socket[] = []
    const { url } = await listen((req, res) => {
      sockets.push(req.socket)
      res.writeHead(401, { 'www-authenticate': CHALLENGE, 'content-length': '100000' })
      res.write(UPSTREAM_TEXT)
    })
    return { url, breakOff: () => sockets.forEach((socket) => socket.destroy()) }
  }

  it('does not take the answer with it, and fails the handler’s pipeline()', async () => {
    const { url, breakOff } = await brokenUpstream()
    const failed = deferred<unknown>()
    const gateway = await gatewayOf(
      async (_req, res) => {
        const answer = await fetch(url)
        res.status(answer.status)
        await pipeline(Readable.fromWeb(answer.body as ReadableStream), res).catch(failed.resolve)
      },
      () => {
        breakOff()
        return Promise.resolve(ANSWER)
      },
    )
    expect(await ask(gateway.url)).toMatchObject({ status: 302, body: ANSWER_TEXT })
    expect(await failed.promise).toMatchObject({ message: 'terminated' })
  })

  it('does not either behind http-proxy-middleware', async () => {
    const { url, breakOff } = await brokenUpstream()
    const gateway = await gatewayOf(createProxyMiddleware({ target: url }), () => {
      breakOff()
      return Promise.resolve(ANSWER)
    })
    expect(await ask(gateway.url)).toMatchObject({ status: 302, body: ANSWER_TEXT })
  })
})

describe('an upstream that is slow with the body of its 401', () => {
  it('lets the handler’s pipeline() end well', async () => {
    const asked = deferred()
    const upstream = await listen(async (_req, res) => {
      res.writeHead(401)
      res.write(UPSTREAM_TEXT)
      await asked.promise
      for (let i = 0; i < 5; i++) {
        await turn()
        res.write(UPSTREAM_TEXT.repeat(1000))
      }
      res.end()
    })
    const piped = deferred<string>()
    const gateway = await gatewayOf(
      async (_req, res) => {
        const answer = await fetch(upstream.url)
        res.status(answer.status)
        await pipeline(Readable.fromWeb(answer.body as ReadableStream), res).then(
          () => piped.resolve('ended'),
          (error: Error) => piped.resolve(error.message),
        )
      },
      () => {
        asked.resolve()
        return Promise.resolve(ANSWER)
      },
    )
    expect((await ask(gateway.url)).status).toBe(302)
    expect(await piped.promise).toBe('ended')
  })

  it.each([
    ['fetch', undefined],
    [
      'http-proxy-middleware',
      (url: string) => createProxyMiddleware({ target: url }) as unknown as RequestHandler,
    ],
  ])('is cut off where it never ends: the answer goes out (%s)', async (_title, proxyTo) => {
    const closed = deferred()
    const upstream = await listen((_req, res) => {
      res.once('close', () => closed.resolve())
      res.writeHead(401)
      const timer = setInterval(() => res.write(UPSTREAM_TEXT), 10)
      res.once('close', () => clearInterval(timer))
    })
    const relay: RequestHandler = async (_req, res) => {
      const answer = await fetch(upstream.url)
      res.status(answer.status)
      await pipeline(Readable.fromWeb(answer.body as ReadableStream), res).catch(() => undefined)
    }
    const gateway = await gatewayOf(proxyTo === undefined ? relay : proxyTo(upstream.url))
    expect(await ask(gateway.url)).toMatchObject({ status: 302, body: ANSWER_TEXT })
    await closed.promise
  })
})

describe('a request whose body is still under way', () => {
  it('is answered, and its connection can be used again', async () => {
    const gateway = await gatewayOf((_req, res) => void res.sendStatus(401))
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const body = 'x'.repeat(200_000)
    for (let i = 0; i < 3; i++)
      expect((await ask(gateway.url, { method: 'POST', body, agent })).status).toBe(302)
    agent.destroy()
  })

  it('is answered behind http-proxy-middleware with a keep-alive agent', async () => {
    const upstream = createServer((req, res) => {
      req.resume()
      req.once('end', () => res.writeHead(401, { 'www-authenticate': CHALLENGE }).end(UPSTREAM_TEXT))
    })
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const { port } = upstream.address() as { port: number }
    const agent = new Agent({ keepAlive: true })
    const gateway = await gatewayOf(createProxyMiddleware({ target: `http://127.0.0.1:${port}`, agent }))
    for (let i = 0; i < 3; i++) {
      const received = await ask(gateway.url, { method: 'POST', body: 'x'.repeat(200_000) })
      expect(received).toMatchObject({ status: 302, body: ANSWER_TEXT })
    }
    agent.destroy()
    upstream.close()
  })
})
