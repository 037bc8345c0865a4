import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readAhead, replaceBody } from '../../src/gateway/read-ahead.js'
import { listen, type TestServer } from '../support/server.js'

let server: TestServer
let socket: Socket
let arrived: Promise<IncomingMessage>

beforeEach(async () => {
  const listening = await listen()
  server = listening
  arrived = new Promise((resolve) => listening.serve((req) => resolve(req)))
  socket = connect(server.port, 'localhost')
  await once(socket, 'connect')
})

afterEach(async () => {
  socket.destroy()
  await server.close()
})

/** A request of which the head has come, and so much of the body. */
function request(head: string, body = ''): Promise<IncomingMessage> {
  socket.write(`POST / HTTP/1.1\r\nhost: localhost\r\n${head}\r\n\r\n${body}`)
  return arrived
}

const chunk = (data: string): string => `${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`
const CHUNKED = 'transfer-encoding: chunked'

it.each<[string, string, string[]]>([
  ['of a known length', 'content-length: 5', ['hello']],
  ['in chunks', CHUNKED, [`${chunk('he')}${chunk('llo')}0\r\n\r\n`]],
  ['that comes in parts', CHUNKED, [chunk('he'), chunk('llo'), '0\r\n\r\n']],
  ['of exactly the limit', 'content-length: 5', ['he', 'llo']],
])('reads a body %s, and leaves it for the next', async (_name, head, [first = '', ...rest]) => {
  const req = await request(head, first)
  const body = readAhead(req, 5)
  for (const part of rest) socket.write(part)
  expect((await body)?.toString()).toBe('hello')
  expect(await text(req)).toBe('hello')
})

it('finds nothing in an empty body, which still ends', async () => {
  const req = await request('content-length: 0')
  expect(await readAhead(req, 5)).toBeUndefined()
  expect(await text(req)).toBe('')
})

it.each<[string, string, string]>([
  ['announces that it is', 'content-length: 6', 'hello!'],
  ['turns out to be', CHUNKED, `${chunk('hel')}${chunk('lo!')}0\r\n\r\n`],
])(
  'knows nothing of a body longer than the limit that %s, and leaves it whole',
  async (_name, head, body) => {
    const req = await request(head, body)
    expect(await readAhead(req, 5)).toBeUndefined()
    expect(await text(req)).toBe('hello!')
  },
)

it('knows nothing of a body that is cut off', async () => {
  const req = await request('content-length: 5', 'he')
  req.on('error', () => undefined)
  const body = readAhead(req, 5)
  socket.destroy()
  expect(await body).toBeUndefined()
})

it('does not disturb whoever reads already, has read, or is gone', async () => {
  const req = await request('content-length: 5', 'he')
  const read = text(req)
  expect(await readAhead(req, 5)).toBeUndefined()
  socket.write('llo')
  expect(await read).toBe('hello')
  expect(await readAhead(req, 5)).toBeUndefined()
})

it('has waited for nothing where the body has come as a whole, and leaves it for the next', async () => {
  const req = await request('content-length: 5', 'hello')
  while (req.readableLength < 5) await new Promise((resolve) => setImmediate(resolve))
  const body = readAhead(req, 5)
  expect(req.listenerCount('readable')).toBe(0)
  expect((await body)?.toString()).toBe('hello')
  expect(await text(req)).toBe('hello')
})

it.each<[string, (req: IncomingMessage) => Promise<unknown>]>([
  ['looked at', (req) => readAhead(req, 5)],
  ['replaced', (req) => replaceBody(req, Buffer.from('hello'))],
])('a body that was %s is given to its reader no earlier than another one', async (_name, put) => {
  const req = await request('content-length: 5', 'hello')
  while (req.readableLength < 5) await new Promise((resolve) => setImmediate(resolve))
  await put(req)
  const order: string[] = []
  process.nextTick(() => order.push('what was begun before'))
  req.on('data', () => order.push('the body'))
  await once(req, 'end')
  expect(order).toEqual(['what was begun before', 'the body'])
})

it('puts another body in its place, with its length', async () => {
  const req = await request('content-length: 5', 'hello')
  await readAhead(req, 5)
  await replaceBody(req, Buffer.from('good day'))
  expect(req.headers['content-length']).toBe('8')
  expect(await text(req)).toBe('good day')
})

it.each([
  ['hello', 'has been set'],
  ['h\u00e9llo', 'makes it shorter'],
])('a body, %s, is read and put back where an encoding %s', async (body) => {
  const req = await request(`content-length: ${Buffer.byteLength(body)}`, body)
  req.setEncoding('utf8')
  expect((await readAhead(req, 9))?.toString()).toBe(body)
  expect(await text(req)).toBe(body)
})

it('another body in its place is text, too, for whoever has set an encoding', async () => {
  const req = await request('content-length: 5', 'hello')
  req.setEncoding('latin1')
  await readAhead(req, 5)
  const body = Buffer.from('good d\u00e4y')
  await replaceBody(req, body)
  expect(await req.toArray()).toEqual([body.toString('latin1')])
})
