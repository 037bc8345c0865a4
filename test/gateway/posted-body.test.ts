import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { hookBodies, PostedBody } from '../../src/gateway/posted-body.js'

it('is whole once all of it has come', async () => {
  const body = new PostedBody(5)
  const settled = body.settled(new IncomingMessage(new Socket()))
  body.add(Buffer.from('he'))
  expect(body.whole()).toBeUndefined()
  body.add(Buffer.from('llo'))
  await settled
  expect(body.whole()?.toString()).toBe('hello')
})

it('lets everybody who waits for it go on', async () => {
  const req = new IncomingMessage(new Socket())
  const body = new PostedBody(5)
  const settled = [body.settled(req), body.settled(req)]
  body.add(Buffer.from('hello'))
  await Promise.all(settled)
  expect(req.listenerCount('close')).toBe(1)
})

it('is kept once where another copy of the package has hooked the same requests since', () => {
  const prototype = Object.create(IncomingMessage.prototype) as object
  const req = Object.setPrototypeOf(new IncomingMessage(new Socket()), prototype) as IncomingMessage
  const body = new PostedBody(5)
  const hook = (): void => hookBodies(prototype, () => body)
  hook()
  const { push } = prototype as IncomingMessage
  Object.assign(prototype, {
    push(this: IncomingMessage, ...args: Parameters<IncomingMessage['push']>) {
      return push.apply(this, args)
    },
  })
  hook()
  req.push(Buffer.from('hello'))
  expect(body.whole()?.toString()).toBe('hello')
})

it.each(['before it is asked for', 'while it is waited for'])(
  'that will never be whole is not waited for, where the client has left %s',
  async (when) => {
    const req = new IncomingMessage(new Socket())
    req.on('error', () => undefined)
    const body = new PostedBody(5)
    if (when.startsWith('before')) req.destroy()
    const settled = body.settled(req)
    req.destroy()
    await settled
    expect(body.whole()).toBeUndefined()
  },
)
