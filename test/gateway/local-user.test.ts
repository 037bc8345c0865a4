import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import fc from 'fast-check'
import { createProxyMiddleware } from 'http-proxy-middleware'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { identifyUser } from '../../src/gateway/identify-user.js'
import { mcpDcr, memoryStore, type McpDcr } from '../../src/index.js'
import type { Config } from '../../src/options.js'
import { MANY } from '../support/hostile-json.js'

const HOME = 'http://localhost:3001'
let dcr: McpDcr
let secure: McpDcr
beforeAll(() => {
  dcr = gatewayAt(HOME)
  secure = gatewayAt('https://localhost:3001')
})
afterAll(() => Promise.all([dcr.close(), secure.close()]))

const gatewayAt = (baseUrl: string): McpDcr =>
  mcpDcr({
    baseUrl,
    servers: { notes: 'https://mcp.example.com/mcp' },
    store: memoryStore(),
    encryptionKey: 'k'.repeat(32),
  })

/** The status with which a gateway without a `user` option, on loopback, answers what needs a user. */
async function statusOf(headers: Record<string, string>, gateway = dcr): Promise<number> {
  const answer = await request(express().use(gateway))
    .get('/api/oauth/connections')
    .set({ host: 'localhost:3001', ...headers })
  return answer.status
}

const navigate = { 'sec-fetch-mode': 'navigate' }

describe('the local user is', () => {
  it.each([
    ['a program at this machine', {}],
    ['at 127.0.0.1', { host: '127.0.0.1:3001' }],
    ['at [::1]', { host: '[::1]:3001' }],
    ['at a name below localhost', { host: 'gateway.localhost:3001' }],
    ['a page of the gateway', { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', origin: HOME }],
    [
      'a page on another port of this machine',
      { 'sec-fetch-site': 'same-site', origin: 'http://localhost:5173' },
    ],
    ['a typed address', { 'sec-fetch-site': 'none', ...navigate }],
    [
      'a link on another site, and the way back from sign-in',
      { 'sec-fetch-site': 'cross-site', ...navigate },
    ],
    ['behind a proxy at this machine', { 'x-forwarded-for': '127.0.0.1, ::1' }],
    ['behind a proxy at this machine that says so otherwise', { 'x-real-ip': '::ffff:127.0.0.1' }],
    [
      'behind the proxy of a development server',
      {
        'x-forwarded-for': '::1',
        'x-forwarded-host': 'localhost:5173',
        'x-forwarded-proto': 'http',
        'x-forwarded-port': '5173',
      },
    ],
    [
      'behind two of them',
      { 'x-forwarded-host': 'localhost:5173, [::1]:80', 'x-forwarded-proto': 'http,http' },
    ],
  ])('%s', async (_who, headers) => {
    expect(await statusOf(headers)).toBe(200)
  })

  it('behind http-proxy, of which development servers are made', async () => {
    const gateway = express().use(dcr).listen(0, '127.0.0.1')
    onTestFinished(() => void gateway.close())
    await once(gateway, 'listening')
    const { port } = gateway.address() as AddressInfo
    const front = createProxyMiddleware({ target: `http://127.0.0.1:${port}`, xfwd: true })
    const answer = await request(express().use(front))
      .get('/api/oauth/connections')
      .set({ host: 'localhost:5173' })
    expect(answer.status).toBe(200)
  })

  it('behind a proxy that has https for a gateway whose own URL is https', async () => {
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'localhost:3001' }
    expect([await statusOf(headers, secure), await statusOf(headers)]).toEqual([200, 401])
    expect(await statusOf({ ...headers, 'x-forwarded-host': 'a.example' }, secure)).toBe(401)
  })
})

describe('somebody else', () => {
  it.each([
    ['a website’s fetch', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
    ['a website’s fetch, in a browser that says no more than its origin', { origin: 'https://evil.example' }],
    ['a sandboxed frame', { origin: 'null' }],
    [
      'a form that another website sends',
      { 'sec-fetch-site': 'cross-site', ...navigate, origin: 'https://evil.example' },
    ],
    ['a website whose name resolves to loopback', { host: 'evil.example:3001' }],
    ['somebody behind a tunnel', { 'x-forwarded-for': '203.0.113.7' }],
    ['somebody behind a tunnel and a proxy', { 'x-forwarded-for': '203.0.113.7, 127.0.0.1' }],
    ['somebody of whom a proxy speaks (RFC 7239)', { forwarded: 'for=203.0.113.7' }],
    ['somebody of whom a proxy says nothing but that it is there', { via: '1.1 proxy' }],
    ['somebody behind nginx', { 'x-real-ip': '203.0.113.7' }],
    ['somebody behind Cloudflare', { 'cf-connecting-ip': '203.0.113.7' }],
    ['somebody behind a content delivery network', { 'true-client-ip': '2001:db8::7' }],
    ['somebody who is named by no address', { 'x-forwarded-for': 'unknown' }],
    ['somebody at another name', { 'x-forwarded-host': 'a.example' }],
    ['somebody at another name as well', { 'x-forwarded-host': 'localhost, a.example:443' }],
    ['somebody at what is no name', { 'x-forwarded-host': 'a b' }],
    ['somebody behind a tunnel that speaks of https alone', { 'x-forwarded-proto': 'https' }],
    ['somebody behind a tunnel and a proxy that have a scheme each', { 'x-forwarded-proto': 'https,http' }],
    [
      'somebody who says to be here, behind a tunnel that says otherwise',
      { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '203.0.113.7', 'x-forwarded-host': 'localhost' },
    ],
  ])('is not the local user: %s', async (_who, headers) => {
    expect(await statusOf(headers)).toBe(401)
  })
})

it('10,000 hostile headers of proxies make nobody of whom they speak the local user', async () => {
  const here = fc.constantFrom(
    '127.0.0.1',
    '::1',
    'localhost',
    'localhost:5173',
    '[::1]',
    'http',
    ' ',
    ',',
    '',
  )
  const elsewhere = fc.constantFrom(
    '203.0.113.7',
    'a.example',
    'https',
    'unknown',
    '127.0.0.1.',
    '::ffff:cb00:7107',
  )
  const value = fc
    .array(fc.oneof(here, elsewhere, fc.string({ unit: 'binary' })), { minLength: 1, maxLength: 4 })
    .map((all) => all.join(','))
  const names = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'cf-connecting-ip']
  const socket = { remoteAddress: '127.0.0.1' }
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), value), async (said) => {
      const req = { socket, headers: { host: 'localhost:3001', ...said } } as unknown as Request
      const user = await identifyUser({ baseUrl: HOME } as Config, req)
      const speaksOfOthers = /203\.0|a\.example|https|unknown|cb00/.test(Object.values(said).join())
      return user === undefined || (user === 'local' && !speaksOfOthers)
    }),
    MANY,
  )
})
