import express from 'express'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mcpDcr, memoryStore, type McpDcr } from '../../src/index.js'

const HOME = 'http://localhost:3001'
let dcr: McpDcr
beforeAll(() => {
  dcr = mcpDcr({
    baseUrl: HOME,
    servers: { notes: 'https://mcp.example.com/mcp' },
    store: memoryStore(),
    encryptionKey: 'k'.repeat(32),
  })
})
afterAll(() => dcr.close())

/** The status with which a gateway without a `user` option, on loopback, answers what needs a user. */
async function statusOf(headers: Record<string, string>): Promise<number> {
  const answer = await request(express().use(dcr))
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
  ])('%s', async (_who, headers) => {
    expect(await statusOf(headers)).toBe(200)
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
  ])('is not the local user: %s', async (_who, headers) => {
    expect(await statusOf(headers)).toBe(401)
  })
})
