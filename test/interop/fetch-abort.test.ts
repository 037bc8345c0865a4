import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestServer } from '../support/server.js'
import { echo, startSignedInFetch, type SignedInFetch } from './signed-in-fetch.js'

const NEARLY_AN_HOUR = 3590_000
const AN_HOUR = 3600_000

let alice: SignedInFetch
let pageUrl: string
let controller: AbortController
const reason = new Error('the caller has gone')

beforeEach(async () => {
  alice = await startSignedInFetch()
  pageUrl = `${alice.world.mcpServer.url}/page`
  controller = new AbortController()
})

afterEach(() => alice.close())

/** Holds what asks for this path: `arrived` resolves with the first of it, and `release` lets it go on. */
function hold(server: TestServer, path: string) {
  let release = (): void => undefined
  const released = new Promise<boolean>((resolve) => (release = () => resolve(false)))
  const arrived = new Promise<void>((resolve) => {
    server.intercept = (_req, _res, request) => {
      if (request.path !== path) return false
      resolve()
      return released
    }
  })
  return { arrived, release }
}

const sent = (): number => alice.world.mcpServer.count('GET', '/mcp/page')

/** The pending refresh ends well, and its token is the one that is used, without another refresh. */
async function expectOneRefresh(): Promise<void> {
  expect((await alice.fetch(pageUrl)).status).toBe(200)
  expect(alice.refreshes()).toBe(1)
}

describe('a signal that is aborted', () => {
  it('before: nothing is sent, and nothing is refreshed', async () => {
    alice.wait(AN_HOUR)
    controller.abort(reason)
    await expect(alice.fetch(pageUrl, { signal: controller.signal })).rejects.toBe(reason)
    expect([sent(), alice.refreshes()]).toEqual([0, 0])
  })

  it.each([
    ['about to expire', NEARLY_AN_HOUR],
    ['expired', AN_HOUR],
  ])(
    'while a token that is %s is refreshed: waits no longer, and the refresh is kept',
    async (_name, time) => {
      alice.wait(time)
      const { arrived, release } = hold(alice.world.authorizationServer, '/token')
      const fetched = alice.fetch(pageUrl, { signal: controller.signal })
      await arrived
      controller.abort(reason)
      await expect(fetched).rejects.toBe(reason)
      expect(sent()).toBe(0)
      release()
      await expectOneRefresh()
    },
  )

  it('while a rejected token is refreshed: the request is not repeated, and the refresh is kept', async () => {
    await alice.token()
    alice.world.mcpServer.revokeSeen()
    const { arrived, release } = hold(alice.world.authorizationServer, '/token')
    const fetched = alice.fetch(
      new Request(pageUrl, { signal: controller.signal, headers: { 'x-own': 'x' } }),
    )
    await arrived
    controller.abort(reason)
    await expect(fetched).rejects.toBe(reason)
    release()
    await expectOneRefresh()
    expect(alice.world.mcpServer.requests.filter(({ headers }) => headers['x-own'])).toHaveLength(1)
  })

  it('leaves others alone that wait for the same refresh', async () => {
    alice.wait(AN_HOUR)
    const { arrived, release } = hold(alice.world.authorizationServer, '/token')
    const [impatient, patient] = [
      alice.fetch(pageUrl, { signal: controller.signal }),
      alice.fetch(pageUrl, { signal: new AbortController().signal }),
    ]
    await arrived
    controller.abort(reason)
    await expect(impatient).rejects.toBe(reason)
    release()
    expect((await patient).status).toBe(200)
    expect([sent(), alice.refreshes()]).toEqual([1, 1])
  })

  it('while the MCP server makes up its mind: ends the request', async () => {
    const { arrived, release } = hold(alice.world.mcpServer, '/mcp/page')
    const fetched = alice.fetch(pageUrl, { signal: controller.signal })
    await arrived
    controller.abort(reason)
    await expect(fetched).rejects.toBe(reason)
    release()
  })

  it('after a redirect: ends what it leads to', async () => {
    const { mcpServer } = alice.world
    let arrive = (): void => undefined
    const arrived = new Promise<void>((resolve) => (arrive = resolve))
    let closed = new Promise<void>(() => undefined)
    mcpServer.intercept = (req, res, { path }) => {
      if (path === '/mcp/from') res.writeHead(307, { location: '/mcp/page' }).end()
      else {
        closed = new Promise((resolve) => void req.once('close', resolve))
        arrive()
      }
      return true
    }
    const fetched = alice.fetch(`${mcpServer.url}/from`, { signal: controller.signal })
    await arrived
    controller.abort(reason)
    await expect(fetched).rejects.toBe(reason)
    await closed
  })

  it('while the body of a Request is read: nothing is sent', async () => {
    const { signal } = controller
    const body = new ReadableStream({ pull: () => controller.abort(reason) }, { highWaterMark: 0 })
    await expect(
      alice.fetch(new Request(pageUrl, { method: 'POST', body, signal, duplex: 'half' })),
    ).rejects.toBe(reason)
    expect(alice.world.mcpServer.count('POST', '/mcp/page')).toBe(0)
  })

  it('of a Request, where init has none: is not heard', async () => {
    controller.abort(reason)
    alice.world.mcpServer.intercept = echo('/mcp/page')
    const answer = await alice.fetch(new Request(pageUrl, { signal: controller.signal }), { signal: null })
    expect(answer.status).toBe(200)
  })
})

describe('the stream of an answer', () => {
  const read = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> =>
    new TextDecoder().decode((await reader.read()).value)

  async function openEvents(init?: RequestInit): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const { body } = await alice.fetch(`${alice.world.mcpServer.url}/sse`, init)
    return (body as ReadableStream<Uint8Array>).getReader()
  }

  it('arrives event by event, with a token that was refreshed and one that was renewed after a 401', async () => {
    alice.wait(AN_HOUR)
    for (const refreshes of [1, 2]) {
      const reader = await openEvents()
      expect(await read(reader)).toBe('data: hello\n\n')
      alice.world.mcpServer.sendEvent('later')
      expect(await read(reader)).toBe('data: later\n\n')
      alice.world.mcpServer.endEvents()
      expect((await reader.read()).done).toBe(true)
      expect(alice.refreshes()).toBe(refreshes)
      alice.world.mcpServer.revokeSeen()
      alice.wait(60_000)
    }
  })

  it('ends with the signal, at the MCP server too', async () => {
    const { mcpServer } = alice.world
    let closed = new Promise<void>(() => undefined)
    mcpServer.intercept = (req) => {
      closed = new Promise((resolve) => void req.socket.once('close', resolve))
      return false
    }
    const reader = await openEvents({ signal: controller.signal })
    expect(await read(reader)).toBe('data: hello\n\n')
    controller.abort(reason)
    await expect(reader.read()).rejects.toBe(reason)
    await closed
  })

  it('ends at the MCP server when its reader has enough', async () => {
    let closed = new Promise<void>(() => undefined)
    alice.world.mcpServer.intercept = (req) => {
      closed = new Promise((resolve) => void req.socket.once('close', resolve))
      return false
    }
    const reader = await openEvents()
    await reader.cancel()
    await closed
  })
})
