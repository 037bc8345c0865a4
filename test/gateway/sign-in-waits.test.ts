import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSignInWaits } from '../../src/gateway/sign-in-waits.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const waits = createSignInWaits()
const response = (): ServerResponse => new EventEmitter() as ServerResponse

/** The names of the waits that are over, in order. */
function watch(): { over: string[]; note: (name: string, wait: Promise<unknown>) => void } {
  const over: string[] = []
  return { over, note: (name, wait) => void wait.then(() => over.push(name)) }
}

it('ends at the sign-in, at the client’s leaving, or after its time', async () => {
  const { over, note } = watch()
  const leaving = response()
  note('signed in', waits.wait('ann', 1000, response()))
  note('left', waits.wait('bob', 1000, leaving))
  note('too long', waits.wait('bob', 1000, response()))
  await vi.advanceTimersByTimeAsync(999)
  expect(over).toEqual([])
  waits.end('ann')
  await vi.advanceTimersByTimeAsync(0)
  expect(over).toEqual(['signed in'])
  leaving.emit('close')
  await vi.advanceTimersByTimeAsync(0)
  expect(over).toEqual(['signed in', 'left'])
  await vi.advanceTimersByTimeAsync(1)
  expect(over).toEqual(['signed in', 'left', 'too long'])
  expect(vi.getTimerCount()).toBe(0)
})

it('holds twenty of one key, and none of a client that has gone or for no time', async () => {
  const { over, note } = watch()
  for (let n = 1; n <= 21; n++) note(`${n}`, waits.wait('ann', 1000, response()))
  note('gone', waits.wait('bob', 1000, Object.assign(response(), { destroyed: true })))
  note('no time', waits.wait('bob', 0, response()))
  await vi.advanceTimersByTimeAsync(0)
  expect(over).toEqual(['21', 'gone', 'no time'])
  waits.end('ann')
  await vi.advanceTimersByTimeAsync(0)
  expect(over).toHaveLength(23)
  expect(vi.getTimerCount()).toBe(0)
})

it('says whether the person has declined', async () => {
  const held = [waits.wait('ann', 1000, response()), waits.wait('ann', 1000, response())]
  waits.end('ann', 'declined')
  expect(await Promise.all(held)).toEqual(['declined', 'declined'])
  const next = waits.wait('ann', 1000, response())
  waits.end('ann')
  expect(await next).toBeUndefined()
})
