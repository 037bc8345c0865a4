import { get, request, ServerResponse, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import compression from 'compression'
import express, { type RequestHandler } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { hookResponses, intercept, type Decide } from '../../src/gateway/intercept.js'
import {
  ANSWER,
  ask,
  CHALLENGE,
  closeAll,
  deferred,
  EXPRESSES,
  head,
  listen,
  UPSTREAM_TEXT,
} from './intercept-support.js'

const divertAll: Decide = () => () => Promise.resolve(ANSWER)

const watching =
  (decide: Decide = divertAll, onPassed?: (status: number) => void): RequestHandler =>
  (_req, res, next) => {
    intercept(res, decide, onPassed)
    next()
  }

afterEach(closeAll)

/** A gateway with one handler, watched. */
function gatewayOf(handler: RequestHandler, decide?: Decide, onPassed?: (status: number) => void) {
  const app = express()
  app.use(watching(decide, onPassed))
  app.use(handler)
  return listen(app)
}

const relayFetch =
  (url: string): RequestHandler =>
  async (_req, res) => {
    const answer = await fetch(url)
    res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    await pipeline(Readable.fromWeb(answer.body as ReadableStream), res)
  }

describe('an event stream', () => {
  it.each([
    ['a handler', undefined],
    [
      'http-proxy-middleware',
      (url: string) => createProxyMiddleware({ target: url }) as unknown as RequestHandler,
    ],
    ['fetch', relayFetch],
  ])('is not delayed: its first event arrives before %s writes the second', async (_title, relay) => {
    const firstArrived = deferred()
    const events: RequestHandler = async (_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.write('data: 1\n\n')
      await firstArrived.promise
      res.end('data: 2\n\n')
    }
    const gateway =
      relay === undefined
        ? await gatewayOf(events)
        : await gatewayOf(relay((await listen(express().use(events))).url))
    const res = await head(gateway.url)
    const [first] = (await once(res, 'data')) as [Buffer]
    expect(first.toString()).toBe('data: 1\n\n')
    firstArrived.resolve()
    const [second] = (await once(res, 'data')) as [Buffer]
    expect(second.toString()).toBe('data: 2\n\n')
  })

  it('has its head at once after flushHeaders()', async () => {
    const headArrived = deferred()
    const gateway = await gatewayOf(async (_req, res) => {
      res.type('text/event-stream').flushHeaders()
      await headArrived.promise
      res.end('data: 1\n\n')
    })
    const res = await head(gateway.url)
    expect(res.headers['content-type']).toContain('text/event-stream')
    headArrived.resolve()
    expect(((await once(res, 'data')) as [Buffer])[0].toString()).toBe('data: 1\n\n')
  })
})

describe('a response that passes', () => {
  it('keeps its backpressure', async () => {
    const full = deferred()
    let written = 0
    const gateway = await gatewayOf(async (_req, res) => {
      const chunk = Buffer.alloc(64 * 1024)
      do written += chunk.length
      while (res.write(chunk))
      // The socket has more than it takes: only a reader brings the 'drain'.
      const drained = once(res, 'drain')
      full.resolve()
      await drained
      res.end()
    })
    const res = await head(gateway.url)
    await full.promise
    let read = 0
    for await (const chunk of res) read += (chunk as Buffer).length
    expect(read).toBe(written)
  })

  it('calls the callbacks of write() and end() when it is out', async () => {
    const order: string[] = []
    const done = deferred()
    const gateway = await gatewayOf((_req, res) => {
      res.write('a', () => order.push('written'))
      res.end('b', () => {
        order.push('ended')
        done.resolve()
      })
    })
    expect((await ask(gateway.url)).body).toBe('ab')
    await done.promise
    expect(order).toEqual(['written', 'ended'])
  })

  it('keeps its trailers', async () => {
    const gateway = await gatewayOf((_req, res) => {
      res.writeHead(200, { trailer: 'x-sum' })
      res.write('body')
      res.addTrailers({ 'x-sum': '4' })
      res.end()
    })
    expect(await ask(gateway.url)).toMatchObject({ body: 'body', trailers: { 'x-sum': '4' } })
  })

  it('keeps its early hints and other interim answers', async () => {
    const gateway = await gatewayOf((_req, res) => {
      res.writeProcessing()
      res.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' }, () => res.status(200).send('body'))
    })
    const req = get(gateway.url, { agent: false })
    const interim: [number, unknown][] = []
    req.on('information', (info: { statusCode: number; headers: IncomingMessage['headers'] }) =>
      interim.push([info.statusCode, info.headers['link']]),
    )
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    res.resume()
    await once(res, 'end')
    expect(interim).toEqual([
      [102, undefined],
      [103, '</style.css>; rel=preload; as=style'],
    ])
    expect(res.statusCode).toBe(200)
  })

  it('keeps early hints before a 401 that is replaced', async () => {
    const gateway = await gatewayOf((_req, res) => {
      res.writeEarlyHints({ link: '</a>; rel=preload' }, () =>
        res.status(401).set('www-authenticate', CHALLENGE).end(),
      )
    })
    const req = get(gateway.url, { agent: false })
    const [[info], [res]] = (await Promise.all([once(req, 'information'), once(req, 'response')])) as [
      [{ statusCode: number }],
      [IncomingMessage],
    ]
    res.resume()
    expect([info.statusCode, res.statusCode]).toEqual([103, 302])
  })

  it('keeps 100-continue', async () => {
    const gateway = await gatewayOf((req, res) => void req.pipe(res))
    const req = request(gateway.url, { method: 'POST', agent: false, headers: { expect: '100-continue' } })
    req.flushHeaders()
    await once(req, 'continue')
    req.end('body')
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    expect(((await once(res, 'data')) as [Buffer])[0].toString()).toBe('body')
  })

  it('keeps a 304', async () => {
    const gateway = await gatewayOf((_req, res) => void res.set('etag', '"1"').send('body'))
    const received = await ask(gateway.url, { headers: { 'if-none-match': '"1"' } })
    expect(received).toMatchObject({ status: 304, body: '', headers: { etag: '"1"' } })
  })

  it.each([
    ['a flat array', ['X-One', '1', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']],
    ['an object', { 'X-One': '1', 'Set-Cookie': ['a=1', 'b=2'] }],
  ])('keeps its reason and the headers that writeHead() got as %s', async (_title, headers) => {
    const handler: RequestHandler = (_req, res) => void res.writeHead(207, 'Several', headers as never).end()
    const plain = await ask((await listen(express().use(handler))).url)
    const watched = await ask((await gatewayOf(handler)).url)
    expect([watched.status, watched.statusMessage]).toEqual([207, 'Several'])
    const withoutDate = ({ rawHeaders }: typeof plain) => rawHeaders.filter((text) => !/GMT$/.test(text))
    expect(withoutDate(watched)).toEqual(withoutDate(plain))
  })

  it.each([200, 204, 301, 399])('is not asked about with a %i', async (status) => {
    const decide = vi.fn(divertAll)
    const onPassed = vi.fn()
    const gateway = await gatewayOf((_req, res) => void res.status(status).end(), decide, onPassed)
    expect((await ask(gateway.url)).status).toBe(status)
    expect(decide).not.toHaveBeenCalled()
    expect(onPassed.mock.calls.map(([passed]) => passed)).toEqual([status])
  })

  it.each([400, 401, 403, 404, 500, 503])('is untouched where a %i is let through', async (status) => {
    const onPassed = vi.fn()
    const gateway = await gatewayOf(
      (_req, res) => {
        res.cookie('upstream', '1')
        res.writeHead(status, 'Nope', { 'www-authenticate': [CHALLENGE, 'Basic realm="x"'] })
        res.write(UPSTREAM_TEXT)
        res.end(UPSTREAM_TEXT)
      },
      () => undefined,
      onPassed,
    )
    const received = await ask(gateway.url)
    expect(received).toMatchObject({ status, statusMessage: 'Nope', body: UPSTREAM_TEXT.repeat(2) })
    expect(received.headers['www-authenticate']).toBe(`${CHALLENGE}, Basic realm="x"`)
    expect(received.headers['set-cookie']).toEqual(['upstream=1; Path=/'])
    expect(onPassed.mock.calls.map(([passed]) => passed)).toEqual([status])
  })

  it('passes with compression on either side', async () => {
    const text = UPSTREAM_TEXT.repeat(1000)
    for (const order of [
      [compression(), watching()],
      [watching(), compression()],
    ]) {
      const app = express()
      for (const middleware of order) app.use(middleware)
      app.use((_req, res) => void res.type('text').send(text))
      const received = await ask((await listen(app)).url, { headers: { 'accept-encoding': 'gzip' } })
      expect(received.headers['content-encoding']).toBe('gzip')
      expect(received.body).toBe(text)
    }
  })

  it('may be destroyed by its handler', async () => {
    const gateway = await gatewayOf((_req, res) => {
      res.write('half', () => res.destroy())
    })
    await expect(ask(gateway.url)).rejects.toThrow('aborted')
  })

  it('may be destroyed before its head', async () => {
    const gateway = await gatewayOf((_req, res) => void res.destroy())
    await expect(ask(gateway.url)).rejects.toThrow('socket hang up')
  })
})

describe('what is asked about a response', () => {
  it.each([
    ['set before', undefined, [CHALLENGE, 'Basic realm="x"']],
    ['an object', { 'WWW-AUTHENTICATE': ['Basic realm="y"', CHALLENGE] }, ['Basic realm="y"', CHALLENGE]],
    ['names in two cases', { 'WWW-Authenticate': 'A', 'www-authenticate': 'B' }, ['A', 'B']],
    [
      'pairs',
      [
        ['www-authenticate', 'Basic'],
        ['x-one', '1'],
        ['WWW-Authenticate', CHALLENGE],
      ],
      ['Basic', CHALLENGE],
    ],
    [
      'a flat array',
      ['www-authenticate', 'Basic', 'X-One', 'www-authenticate', 'WWW-Authenticate', CHALLENGE],
      ['Basic', CHALLENGE],
    ],
    ['other headers only', { 'x-one': '1' }, [CHALLENGE, 'Basic realm="x"']],
  ])('are all values of WWW-Authenticate: %s', async (_title, headers, values) => {
    const decide = vi.fn(divertAll)
    const gateway = await gatewayOf((_req, res) => {
      res.setHeader('www-authenticate', [CHALLENGE, 'Basic realm="x"'])
      res.writeHead(403, headers as never).end()
    }, decide)
    await ask(gateway.url)
    expect(decide.mock.calls).toEqual([[403, values]])
  })

  it('is none without the header', async () => {
    const decide = vi.fn(divertAll)
    const gateway = await gatewayOf((_req, res) => void res.sendStatus(401), decide)
    expect((await ask(gateway.url)).status).toBe(302)
    expect(decide.mock.calls).toEqual([[401, []]])
  })
})

describe('the watch', () => {
  it('is one: the first stays, and after the decision there is no other', async () => {
    const [first, second, third] = [vi.fn<Decide>(() => undefined), vi.fn(divertAll), vi.fn(divertAll)]
    const app = express()
    app.use(watching(first), watching(second))
    app.use((_req, res) => {
      res.status(401).write('a')
      intercept(res, third)
      res.end('b')
    })
    expect(await ask((await listen(app)).url)).toMatchObject({ status: 401, body: 'ab' })
    expect([first, second, third].map((decide) => decide.mock.calls.length)).toEqual([1, 0, 0])
  })

  it('does nothing to a response whose head is out', async () => {
    const decide = vi.fn(divertAll)
    const app = express().use((_req, res) => {
      res.status(401).write('a')
      intercept(res, decide)
      res.end('b')
    })
    expect(await ask((await listen(app)).url)).toMatchObject({ status: 401, body: 'ab' })
    expect(decide).not.toHaveBeenCalled()
  })

  it.each(EXPRESSES)(
    'hooks the prototype of %s once, and neither the response nor Node’s own',
    async (_title, anExpress) => {
      const node = { ...ServerResponse.prototype }
      hookResponses(anExpress.response)
      const { end } = anExpress.response
      hookResponses(anExpress.response)
      expect(anExpress.response.end).toBe(end)
      const own = deferred<string[]>()
      const app = anExpress()
      app.use((_req, res) => {
        const before = Object.keys(res)
        intercept(res, divertAll)
        own.resolve(Object.keys(res).filter((key) => !before.includes(key)))
        res.status(401).end()
      })
      expect((await ask((await listen(app)).url)).status).toBe(302)
      expect(await own.promise).toEqual([])
      expect({ ...ServerResponse.prototype }).toEqual(node)
    },
  )

  it('works on a response without Express, and leaves others of its server alone', async () => {
    const server = await listen((req, res) => {
      if (req.url === '/watched') intercept(res, divertAll)
      res.writeHead(401, { 'www-authenticate': CHALLENGE }).end(UPSTREAM_TEXT)
    })
    expect((await ask(`${server.url}/watched`)).status).toBe(302)
    expect(await ask(server.url)).toMatchObject({ status: 401, body: UPSTREAM_TEXT })
  })

  it('leaves a response of the same app alone that it was not asked to watch', async () => {
    const app = express()
    app.use('/watched', watching())
    app.use((_req, res) => void res.status(401).set('www-authenticate', CHALLENGE).send(UPSTREAM_TEXT))
    const { url } = await listen(app)
    expect((await ask(`${url}/watched`)).status).toBe(302)
    expect(await ask(url)).toMatchObject({ status: 401, body: UPSTREAM_TEXT })
  })
})
