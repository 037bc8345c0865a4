import { request } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

// The gateway's own URL is what its author has configured, or this machine: never what a request says.

let world: World
let gateway: DcrGateway

beforeEach(async () => {
  world = await startWorld()
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

async function start(options: Options, trustProxy?: boolean): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => options,
    before: (app) => void (trustProxy === undefined || app.set('trust proxy', trustProxy)),
  })
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly text: string
}

/** `path` as it is, which may be a whole URL (RFC 9112 §3.2.2). */
function send(path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST'
    const sent = { 'x-user': 'alice', ...headers }
    request({ host: 'localhost', port: gateway.port, path, method, headers: sent, agent: false }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      res.once('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }))
    })
      .once('error', reject)
      .end(body)
  })
}

const EVIL = 'evil.example'
const SAYS: readonly [string, Record<string, string>][] = [
  ['Host', { host: EVIL }],
  ['Host, with the port', { host: `${EVIL}:80` }],
  ['X-Forwarded-Host', { 'x-forwarded-host': EVIL, 'x-forwarded-proto': 'https', 'x-forwarded-port': '443' }],
  ['X-Forwarded-Proto', { 'x-forwarded-proto': `https://${EVIL}` }],
  ['X-Forwarded-Prefix', { 'x-forwarded-prefix': `//${EVIL}` }],
  ['Forwarded', { forwarded: `for=127.0.0.1;host=${EVIL};proto=https` }],
  ['X-Original-URL', { 'x-original-url': `//${EVIL}/`, 'x-rewrite-url': `//${EVIL}/` }],
]

const NAVIGATION = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }
const TOOL_CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } })
const MCP = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

/** Every kind of answer that holds a URL of the gateway. */
const ASKED: readonly [string, string, Record<string, string>, string?][] = [
  ['a person’s page', '/mcp/notes/page', NAVIGATION],
  ['a program’s request', '/mcp/notes/page', { accept: 'application/json' }],
  ['a tool call', '/mcp/notes', MCP, TOOL_CALL],
  ['the connect URL', '/api/oauth/authorize/notes?return_to=%2Fmcp%2Fnotes%2Fpage', NAVIGATION],
  ['the connections, as JSON', '/api/oauth/connections', { accept: 'application/json' }],
  ['the connections, as a page', '/api/oauth/connections', NAVIGATION],
  ['a forged callback', '/api/oauth/callback?state=x&code=y', NAVIGATION],
  ['the client metadata document', '/api/oauth/client.json', {}],
  ['nothing', '/api/oauth/nothing', NAVIGATION],
]

describe.each<[string, Options]>([
  ['configured', { baseUrl: 'https://gateway.example.com', encryptionKey: 'k'.repeat(32) }],
  ['not configured', { baseUrl: undefined as never }],
])('where baseUrl is %s', (_, options) => {
  it.each([
    ['trusted', true],
    ['not trusted', undefined],
  ])('no header decides a URL of any answer, where proxies are %s', async (_trusted, trustProxy) => {
    await start(options, trustProxy)
    const own = options.baseUrl ?? gateway.url
    for (const [name, says] of SAYS) {
      for (const [what, path, headers, body] of ASKED) {
        const { status, headers: answered, text } = await send(path, { ...headers, ...says }, body)
        const all = `${status} ${JSON.stringify(answered)} ${text}`
        expect(all, `${name}, ${what}`).not.toContain(EVIL)
        if (what === 'a program’s request') expect(all).toContain(`${own}/api/oauth/authorize/notes`)
      }
    }
    const registered = world.authorizationServer.requests.filter(({ path }) => path === '/reg')
    expect(
      registered.map(({ body }) => (JSON.parse(body) as Record<string, unknown>)['redirect_uris']),
    ).toEqual([[`${own}/api/oauth/callback`]])
  })

  it('a request target that is a whole URL decides none either', async () => {
    await start(options)
    for (const [what, path, headers, body] of ASKED) {
      const { status, headers: answered, text } = await send(`http://${EVIL}${path}`, headers, body)
      expect(`${status} ${JSON.stringify(answered)} ${text}`, what).not.toContain(EVIL)
      expect(status, what).toBeLessThan(500)
    }
  })

  it('nor do the flow’s cookies depend on what a proxy says of https', async () => {
    await start(options, true)
    const path = '/api/oauth/authorize/notes'
    const host = new URL(options.baseUrl ?? gateway.url).host
    const { headers } = await send(path, { ...NAVIGATION, host, 'x-forwarded-proto': 'https' })
    const [cookie = ''] = headers['set-cookie'] as string[]
    expect(cookie.startsWith('__Host-')).toBe(options.baseUrl !== undefined)
    expect(/; Secure/.test(cookie)).toBe(options.baseUrl !== undefined)
  })
})

describe('a client address that a proxy names', () => {
  const asLocalUser = (headers: Record<string, string>): Promise<Answer> =>
    send('/api/oauth/connections', { accept: 'application/json', ...headers })

  it('never makes somebody the local user, whether or not proxies are trusted', async () => {
    for (const trustProxy of [undefined, true]) {
      await start({ user: undefined as never }, trustProxy)
      const host = `localhost:${gateway.port}`
      expect((await asLocalUser({ host })).status).toBe(200)
      for (const headers of [
        { host, 'x-forwarded-for': '203.0.113.7' },
        { host: EVIL, 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': host },
        { host: EVIL, forwarded: `for=127.0.0.1;host=${host}` },
      ]) {
        expect((await asLocalUser(headers)).status).toBe(401)
      }
      await gateway.close()
    }
  })
})
