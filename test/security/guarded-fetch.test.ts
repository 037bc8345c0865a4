import { once } from 'node:events'
import { inspect } from 'node:util'
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createGuardedFetch, type GuardedFetchOptions } from '../../src/security/guarded-fetch.js'
import { failure, serve, serveRaw, unusedPort } from './fetch-support.js'

const SECRET = 'upstream-says-hunter2'
const MEBIBYTE = 1024 * 1024
const QUICK = { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }

function get(
  port: number,
  init?: RequestInit,
  options: Partial<GuardedFetchOptions> = {},
): Promise<Response> {
  const fetch = createGuardedFetch({ timeout: 10_000, allowPrivateNetworks: [], ...options })
  return fetch(`http://127.0.0.1:${port}/a/path?query=1`, init, 'loopback')
}

describe('an answer is passed on', () => {
  it('with its status, headers and body; the request as it was given', async () => {
    const bodies: string[] = []
    const { port, requests } = await serve((req, res) => {
      req.setEncoding('utf8').on('data', (chunk: string) => bodies.push(chunk))
      req.on('end', () => {
        res.writeHead(401, { 'www-authenticate': 'Bearer', 'content-type': 'application/json' })
        res.end('{"a":1}')
      })
    })
    const response = await get(port, {
      method: 'POST',
      headers: { 'x-a': 'b' },
      body: new URLSearchParams({ grant_type: 'refresh_token' }),
    })
    expect(response).toBeInstanceOf(Response)
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(await response.json()).toEqual({ a: 1 })
    expect(requests[0]).toMatchObject({ method: 'POST', url: '/a/path?query=1', headers: { 'x-a': 'b' } })
    expect(bodies.join('')).toBe('grant_type=refresh_token')
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('decoded from %s, and says so in its headers', async (encoding, compress) => {
    const { port } = await serve((_req, res) => {
      res.writeHead(200, { 'content-encoding': encoding }).end(compress('text'.repeat(100)))
    })
    const response = await get(port)
    expect(await response.text()).toBe('text'.repeat(100))
    expect([response.headers.get('content-encoding'), response.headers.get('content-length')]).toEqual([
      null,
      null,
    ])
  })

  it('once its connection can be used again: the next request opens none', async () => {
    const { port, connections } = await serve((_req, res) => void res.end('{}'))
    const fetch = createGuardedFetch({ timeout: 10_000, allowPrivateNetworks: [] })
    for (const path of ['1', '2', '3']) await fetch(`http://127.0.0.1:${port}/${path}`, undefined, 'loopback')
    expect(connections()).toBe(1)
  })

  it('sent in chunks', async () => {
    const { port } = await serve((_req, res) => {
      res.write('{"a":')
      setImmediate(() => res.end('1}'))
    })
    expect(await (await get(port)).json()).toEqual({ a: 1 })
  })

  it.each([204, 205, 304])('without a body: %i', async (status) => {
    const { port } = await serve((_req, res) => res.writeHead(status).end())
    const response = await get(port)
    expect([response.status, response.body]).toEqual([status, null])
  })
})

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('is refused and not followed: %i', async (status) => {
    const target = await serve((_req, res) => res.end('{}'))
    const location = `http://127.0.0.1:${target.port}/${SECRET}`
    const { port } = await serve((_req, res) => res.writeHead(status, { location }).end(SECRET))
    const error = await failure(get(port, { redirect: 'follow' }))
    expect(error.code).toBe('redirect_refused')
    expect(error.message).toBe(`http://127.0.0.1:${port}/a/path redirects, which is not followed.`)
    expect(target.connections()).toBe(0)
  })

  it('a 300 that names no place is none', async () => {
    const { port } = await serve((_req, res) => res.writeHead(300).end('choose'))
    expect((await get(port)).status).toBe(300)
  })
})

describe('a slow server is not waited for', () => {
  it.each<[string, (write: (text: string) => void) => void]>([
    ['no headers', () => undefined],
    ['half of the headers', (write) => write('HTTP/1.1 200 OK\r\ncontent-')],
    ['no body', (write) => write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n')],
    ['an endless body', (write) => write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n')],
    [
      'an endless redirect',
      (write) => write('HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 9\r\n\r\n'),
    ],
  ])('%s', async (name, answer) => {
    const gone: Promise<unknown>[] = []
    const { port } = await serveRaw((socket) => {
      gone.push(once(socket, 'close'))
      socket.once('data', () => answer((text) => socket.write(text)))
    })
    const error = await failure(get(port, undefined, { timeout: 50 }))
    const expected =
      name === 'an endless redirect'
        ? ['redirect_refused', `http://127.0.0.1:${port}/a/path redirects, which is not followed.`]
        : ['request_timeout', `http://127.0.0.1:${port}/a/path did not answer within 50 ms.`]
    expect([error.code, error.message]).toEqual(expected)
    // The connection is given up too.
    expect(await Promise.all(gone)).toHaveLength(1)
  })

  it.each<[string, string]>([
    ['a header', 'x-a: b\r\n'],
    ['an interim answer', '\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n'],
  ])('not even one that always has %s more', async (_, piece) => {
    const { port } = await serveRaw((socket) => {
      socket.write('HTTP/1.1 103 Early Hints\r\n')
      const drip = setInterval(() => socket.write(piece.repeat(20)), 5)
      socket.on('close', () => clearInterval(drip))
    })
    expect((await failure(get(port, undefined, { timeout: 100 }))).code).toMatch(/^request_(timeout|failed)$/)
  })

  it('nor are more headers taken than fit', async () => {
    const { port } = await serveRaw((socket) => {
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(1024 * 1024)}\r\n`))
    })
    expect((await failure(get(port))).code).toBe('request_failed')
  })

  it('not even one that goes on sending', async () => {
    let stop = (): void => undefined
    const { port } = await serve((_req, res) => {
      const drip = setInterval(() => res.write(' '), 5)
      stop = () => clearInterval(drip)
      res.on('close', stop)
    })
    expect((await failure(get(port, undefined, { timeout: 50 }))).code).toBe('request_timeout')
    stop()
  })
})

describe('a large answer is refused', () => {
  const bomb = gzipSync(Buffer.alloc(50 * MEBIBYTE))

  it('though its compressed form is small', async () => {
    expect(bomb.length).toBeLessThan(MEBIBYTE / 10)
    const { port } = await serve((_req, res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb))
    const error = await failure(get(port))
    expect(error.code).toBe('response_too_large')
    expect(error.message).toBe(`http://127.0.0.1:${port}/a/path sent more than ${MEBIBYTE} bytes.`)
  })

  it.each<[string, string, Buffer]>([
    ['deflate', 'deflate', deflateSync(Buffer.alloc(50 * MEBIBYTE))],
    ['br', 'br', brotliCompressSync(Buffer.alloc(50 * MEBIBYTE), QUICK)],
    ['layers', 'gzip, gzip', gzipSync(bomb)],
  ])('compressed by %s too', async (_, encoding, body) => {
    expect(body.length).toBeLessThan(MEBIBYTE / 10)
    const { port } = await serve((_req, res) =>
      res.writeHead(200, { 'content-encoding': encoding }).end(body),
    )
    expect((await failure(get(port))).code).toBe('response_too_large')
  })

  it('nor are layers upon layers unwrapped', async () => {
    const { port } = await serve((_req, res) =>
      res.writeHead(200, { 'content-encoding': Array(100).fill('gzip').join(', ') }).end(bomb),
    )
    expect((await failure(get(port))).code).toBe('request_failed')
  })

  it('nor do they end the process when the time is up, or the caller gives up, afterwards', async () => {
    const encodings = Array(10).fill('gzip').join(', ')
    const { port } = await serve((_req, res) =>
      res.writeHead(200, { 'content-encoding': encodings }).end(bomb),
    )
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const caller = new AbortController()
    expect((await failure(get(port, { signal: caller.signal }))).code).toBe('request_failed')
    // What is thrown there, nobody can catch: the test run reports it.
    vi.advanceTimersByTime(10_000)
    caller.abort()
    await new Promise(setImmediate)
  })

  it.each([
    ['of a known length', { 'content-length': String(MEBIBYTE + 1) }],
    ['in chunks', {}],
  ])('%s', async (_, headers) => {
    const { port } = await serve((_req, res) => {
      res.writeHead(200, headers)
      res.write(Buffer.alloc(MEBIBYTE))
      res.end('x')
    })
    expect((await failure(get(port))).code).toBe('response_too_large')
  })

  it('without end, and its connection is closed', async () => {
    const closed: Promise<unknown>[] = []
    const { port } = await serve((_req, res) => {
      closed.push(once(res, 'close'))
      const chunk = Buffer.alloc(65_536)
      const more = (): void => {
        while (!res.destroyed && res.write(chunk));
      }
      res.on('drain', more)
      more()
    })
    expect((await failure(get(port))).code).toBe('response_too_large')
    expect(await Promise.all(closed)).toHaveLength(1)
  })

  it.each([
    ['of 1 MiB exactly is taken', {}, MEBIBYTE],
    ['of the given bound is taken', { maxBytes: 10 }, 10],
  ])('%s', async (_, options, size) => {
    const { port } = await serve((_req, res) => res.end(Buffer.alloc(size)))
    expect((await (await get(port, undefined, options)).arrayBuffer()).byteLength).toBe(size)
  })

  it('beyond the given bound', async () => {
    const { port } = await serve((_req, res) => res.end(Buffer.alloc(11)))
    expect((await failure(get(port, undefined, { maxBytes: 10 }))).code).toBe('response_too_large')
  })
})

describe('a failing server is request_failed, without what it said', () => {
  it.each<[string, string]>([
    ['closed within a body of a known length', `HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n${SECRET}`],
    ['closed within chunks', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n15\r\n${SECRET}\r\n`],
    ['a chunk that is none', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${SECRET}\r\n${SECRET}`],
    [
      'a body that is not gzip',
      `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 21\r\n\r\n${SECRET}`,
    ],
  ])('%s', async (_, answer) => {
    const { port } = await serveRaw((socket) => socket.once('data', () => socket.end(answer, 'latin1')))
    const error = await failure(get(port))
    expect(error.code).toBe('request_failed')
    expect(error.message).toBe(`http://127.0.0.1:${port} broke off its answer.`)
    // The cause is logged.
    expect(inspect(error, { depth: 10 })).not.toContain(SECRET)
  })

  it.each<[string, string]>([
    ['closed at once', ''],
    ['closed within the headers', 'HTTP/1.1 200 OK\r\ncontent-'],
    ['an answer that is not HTTP', `${SECRET}\r\n${SECRET}`],
  ])('%s', async (_, answer) => {
    const { port } = await serveRaw((socket) => socket.once('data', () => socket.end(answer)))
    const error = await failure(get(port))
    expect([error.code, error.message]).toEqual([
      'request_failed',
      `http://127.0.0.1:${port} could not be reached.`,
    ])
    expect(inspect(error, { depth: 10 })).not.toContain(SECRET)
  })

  it('nobody listening', async () => {
    const port = await unusedPort()
    const error = await failure(get(port))
    expect([error.code, error.message]).toEqual([
      'request_failed',
      `http://127.0.0.1:${port} could not be reached.`,
    ])
    expect(error.cause).toBeInstanceOf(Error)
  })

  it('a name that does not resolve', async () => {
    const fetch = createGuardedFetch({
      timeout: 10_000,
      allowPrivateNetworks: [],
      resolve: (_name, _options, callback) =>
        callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []),
    })
    const error = await failure(fetch('https://auth.example.com/', undefined, 'public'))
    expect([error.code, error.message]).toEqual([
      'request_failed',
      'https://auth.example.com could not be reached.',
    ])
  })
})

describe('the caller’s own signal', () => {
  it('ends a request that waits for its answer', async () => {
    const controller = new AbortController()
    const { port } = await serve(() => controller.abort())
    const error = await failure(get(port, { signal: controller.signal }))
    expect([error.code, error.message]).toEqual([
      'request_failed',
      `http://127.0.0.1:${port} was not waited for: the caller gave up.`,
    ])
  })

  it('ends a request that waits for the rest of a body', async () => {
    const controller = new AbortController()
    const { port } = await serve((_req, res) => {
      res.write('{')
      setImmediate(() => controller.abort())
    })
    expect((await failure(get(port, { signal: controller.signal }))).code).toBe('request_failed')
  })

  it('aborted beforehand, makes no request', async () => {
    const { port, connections } = await serve((_req, res) => res.end('{}'))
    expect((await failure(get(port, { signal: AbortSignal.abort() }))).code).toBe('request_failed')
    expect(connections()).toBe(0)
  })

  it('changes nothing while it is quiet, and does not replace the timeout', async () => {
    const { signal } = new AbortController()
    const quick = await serve((_req, res) => res.end('{}'))
    expect((await get(quick.port, { signal })).status).toBe(200)
    const slow = await serve(() => undefined)
    expect((await failure(get(slow.port, { signal }, { timeout: 50 }))).code).toBe('request_timeout')
  })
})
