import { beforeEach, describe, expect, it } from 'vitest'
import { createEarlyFetch, type EarlyFetch } from '../../src/oauth/early-fetch.js'

const INTERVAL = 300_000

let early: EarlyFetch
let now: number
/** What was asked, in order. */
let asked: string[]

beforeEach(() => {
  now = 0
  asked = []
  early = createEarlyFetch(
    async (url, _init, reach) => {
      asked.push(`${reach} ${String(url)}`)
      return new Response(reach)
    },
    () => now,
  )
})

const urlOf = (n: number): URL => new URL(`https://mcp${n}.example/metadata`)
const begin = (n: number): void => early.begin(urlOf(n), {}, 'public', INTERVAL)

describe('an early request', () => {
  it('is for who may reach as far: what a private network answers is not taken by who may reach public ones', async () => {
    early.begin(urlOf(1), {}, 'private', INTERVAL)
    expect(await early.take(urlOf(1), 'public')).toBeUndefined()
    expect(await (await early.take(urlOf(1), 'private'))?.text()).toBe('private')
  })

  it('is one of twenty in ten seconds; more are not made, and may be made later', () => {
    for (let n = 0; n < 25; n++) begin(n)
    expect(asked).toHaveLength(20)
    now = 9_999
    begin(24)
    expect(asked).toHaveLength(20)
    now = 10_000
    begin(24)
    expect(asked).toEqual(
      [...Array.from({ length: 20 }, (_, n) => n), 24].map((n) => `public ${urlOf(n).href}`),
    )
  })

  it('is not repeated within its interval, however many others were made since', () => {
    for (let n = 0; n < 200; n++) {
      begin(n)
      now += 1000
    }
    begin(0)
    expect(asked).toHaveLength(200)
  })

  it('makes room once its answer is taken', async () => {
    for (let n = 0; n < 20; n++) begin(n)
    await early.take(urlOf(0), 'public')
    begin(20)
    expect(asked).toHaveLength(21)
  })
})
