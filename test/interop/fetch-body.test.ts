import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { echo, startSignedInFetch, type SignedInFetch } from './signed-in-fetch.js'

type Body = NonNullable<RequestInit['body']>
/** The arguments of `fetch`, whose body is `TEXT`. */
type Make = (url: string) => Parameters<typeof fetch>

const TEXT = 'a=1&b=2'
const JSON_TYPE = { 'content-type': 'application/json' }

const bytes = new TextEncoder().encode(TEXT)
const post = (url: string, body: Body): Parameters<typeof fetch> => [
  url,
  { method: 'POST', headers: JSON_TYPE, body },
]
async function* generate() {
  yield bytes.subarray(0, 3)
  yield bytes.subarray(3)
}
const streamed = (url: string, body: unknown): Parameters<typeof fetch> => [
  url,
  { method: 'POST', headers: JSON_TYPE, body: body as Body, duplex: 'half' },
]

const REPLAYABLE: Record<string, Make> = {
  'a string': (url) => post(url, TEXT),
  bytes: (url) => post(url, bytes),
  'a part of a buffer': (url) => post(url, Buffer.from(`--${TEXT}--`).subarray(2, -2)),
  'an ArrayBuffer': (url) => post(url, bytes.buffer),
  'a Blob': (url) => post(url, new Blob([bytes])),
  URLSearchParams: (url) => post(url, new URLSearchParams(TEXT)),
  'a Request with a string': (url) => [new Request(...post(url, TEXT))],
  'a Request with a stream': (url) => [new Request(...streamed(url, Readable.toWeb(Readable.from([bytes]))))],
  'a Request whose body init replaces': (url) => [
    new Request(...post(url, 'another')),
    { headers: JSON_TYPE, body: TEXT },
  ],
  'a Request, its headers replaced': (url) => [
    new Request(url, { method: 'POST', headers: { authorization: 'Bearer mine' }, body: TEXT }),
    { headers: { ...JSON_TYPE, authorization: 'Bearer mine' } },
  ],
}

const STREAMS: Record<string, () => unknown> = {
  'a web stream': () => Readable.toWeb(Readable.from([bytes])),
  'a Node stream': () => Readable.from([bytes]),
  'an async generator': generate,
}

describe('a request that is repeated with a renewed token', () => {
  let alice: SignedInFetch
  let url: string
  let rejected: string

  beforeEach(async () => {
    alice = await startSignedInFetch()
    url = `${alice.world.mcpServer.url}/echo`
    rejected = await alice.token()
    alice.world.mcpServer.intercept = echo('/mcp/echo', rejected)
  })

  afterEach(() => alice.close())

  const arrived = () => alice.world.mcpServer.requests.filter(({ path }) => path === '/mcp/echo')

  it.each(Object.entries(REPLAYABLE))('has the same body: %s', async (_name, make) => {
    const answer = await alice.fetch(...make(url))
    expect(answer.status).toBe(200)
    const token = await alice.token()
    expect(await answer.json()).toEqual({
      method: 'POST',
      body: TEXT,
      type: 'application/json',
      authorization: token,
    })
    expect(arrived().map(({ authorization, body }) => [authorization, body])).toEqual([
      [rejected, TEXT],
      [token, TEXT],
    ])
    expect(alice.refreshes()).toBe(1)
  })

  it('has the type that its body gives it: URLSearchParams, FormData', async () => {
    const params = await alice.fetch(url, { method: 'POST', body: new URLSearchParams(TEXT) })
    expect(await params.json()).toMatchObject({
      body: TEXT,
      type: 'application/x-www-form-urlencoded;charset=UTF-8',
    })
    alice.world.mcpServer.intercept = echo('/mcp/echo', await alice.token())
    alice.wait(60_000)
    const form = new FormData()
    form.set('a', '1')
    const { body, type } = (await (await alice.fetch(url, { method: 'POST', body: form })).json()) as {
      body: string
      type: string
    }
    const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(type)?.[1]
    expect(body).toContain(`--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n`)
    expect(alice.refreshes()).toBe(2)
  })

  it('has none where it had none', async () => {
    expect(await (await alice.fetch(new URL(url))).json()).toMatchObject({ method: 'GET', body: '' })
    expect(arrived()).toHaveLength(2)
  })

  it.each(Object.entries(STREAMS))('is left to its caller: %s', async (_name, stream) => {
    const send = () => alice.fetch(...streamed(url, stream()))
    await expect(send()).rejects.toMatchObject({ code: 'token_renewed', status: 503, server: 'notes' })
    expect(await (await send()).json()).toMatchObject({ body: TEXT })
    expect([arrived().length, alice.refreshes()]).toEqual([2, 1])
  })

  it('was used up before: fails as fetch does, and nothing is sent', async () => {
    const used = new Request(url, { method: 'POST', body: TEXT })
    await used.text()
    await expect(alice.fetch(used)).rejects.toThrow(TypeError)
    expect(arrived()).toEqual([])
  })
})
