import { beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/model.js'
import { bareServer } from '../../src/oauth/bare-server.js'
import { ensureClient } from '../../src/oauth/ensure-client.js'
import type { OAuthConfig } from '../../src/options.js'
import { BASE_URL, createOAuthContext, declare, discoveredAt, type TestContext } from './support.js'

const HOUR = 60 * 60_000
const ISSUERS = 'https://as.example'

let context: TestContext
/** How many clients were registered, at whatever issuer. */
let registered: number

beforeEach(() => {
  registered = 0
  context = {
    ...createOAuthContext(),
    fetch: (url) => {
      registered++
      const client = { client_id: new URL(url).pathname, token_endpoint_auth_method: 'none' }
      return Promise.resolve(Response.json(client, { status: 201 }))
    },
  }
})

/** Has a client registered for an MCP server at an issuer. */
const register = (server: Server, issuer: string) =>
  ensureClient(context, {
    server,
    discovered: discoveredAt(`${ISSUERS}/${issuer}`),
    scope: undefined,
    baseUrl: BASE_URL,
  })

describe('an MCP server that names another issuer each time', () => {
  const declared = (oauthConfig: OAuthConfig = {}): Server => declare('https://mcp.example/mcp', oauthConfig)

  it('has a client at five within an hour, and at a hundred in all', async () => {
    for (let n = 0; n < 100; n++) {
      if (n > 0 && n % 5 === 0) {
        await expect(register(declared(), `i${n}`)).rejects.toThrow(
          'has named 5 authorization servers within',
        )
        context.pass(HOUR)
      }
      await register(declared(), `i${n}`)
    }
    context.pass(HOUR)
    await expect(register(declared(), 'i100')).rejects.toThrow('has named 100 authorization servers;')
    expect(registered).toBe(100)
    expect(await register(declared(), 'i7')).toMatchObject({ clientId: '/i7/register' })
    const configured = declared({ issuer: `${ISSUERS}/i100` })
    expect(await register(configured, 'i100')).toMatchObject({ clientId: '/i100/register' })
  })

  it('keeps no other one from having its own', async () => {
    for (let n = 0; n < 5; n++) await register(declared(), `i${n}`)
    await expect(register(declared(), 'i5')).rejects.toThrow('has named 5')
    expect(await register(declare('https://other.example/mcp', {}, 'other'), 'i5')).toMatchObject({
      clientId: '/i5/register',
    })
  })
})

describe('an upstream that nobody has declared, and that is called otherwise each time', () => {
  const undeclared = (n: number, origin = 'https://mcp.example'): Server =>
    bareServer(`${origin}/${n}`, `${origin}/${n}`)

  it('has twenty clients registered within an hour, at whatever issuers', async () => {
    for (let n = 0; n < 20; n++) await register(undeclared(n), 'same')
    await expect(register(undeclared(20), 'same')).rejects.toThrow(
      'have had 20 clients registered within an hour',
    )
    await expect(register(undeclared(0), 'other')).rejects.toThrow(
      'have had 20 clients registered within an hour',
    )
    expect(registered).toBe(20)
    expect(await register(undeclared(0), 'same')).toMatchObject({ clientId: '/same/register' })
    expect(await register(undeclared(0, 'https://other.example'), 'same')).toMatchObject({
      clientId: '/same/register',
    })
    context.pass(HOUR)
    await register(undeclared(20), 'same')
  })
})
