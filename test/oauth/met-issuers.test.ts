import { beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/model.js'
import { bareServer } from '../../src/oauth/bare-server.js'
import { ensureClient } from '../../src/oauth/ensure-client.js'
import type { OAuthConfig } from '../../src/options.js'
import { registrationKey } from '../../src/store/records.js'
import { BASE_URL, createOAuthContext, declare, discoveredAt, type TestContext } from './support.js'

const HOUR = 60 * 60_000
const ISSUERS = 'https://as.example'

let context: TestContext
/** How many registrations were asked for, at whatever issuer. */
let registered: number
let refuses: boolean

beforeEach(() => {
  registered = 0
  refuses = false
  context = {
    ...createOAuthContext(),
    fetch: (url) => {
      registered++
      if (refuses) return Promise.resolve(new Response(null, { status: 403 }))
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

  it('asks five within an hour where all of them refuse, too', async () => {
    refuses = true
    for (let n = 0; n < 5; n++)
      await expect(register(declared(), `i${n}`)).rejects.toThrow('answered with status 403')
    for (let n = 5; n < 20; n++) {
      await expect(register(declared(), `i${n}`)).rejects.toThrow('has named 5 authorization servers within')
    }
    expect(registered).toBe(5)
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

  /** Holds clients of so many of them, registered long ago. */
  async function hold(count: number, originOf: (n: number) => string): Promise<void> {
    for (let n = 0; n < count; n++) {
      const { url } = undeclared(n, originOf(n))
      const [issuer, redirectUri] = [`${ISSUERS}/held`, `${BASE_URL}/api/oauth/callback`]
      await context.records.registrations.save(registrationKey(url, issuer, redirectUri), undefined, {
        ...{ status: 'registered', server: url, serverUrl: url, issuer, redirectUri },
        createdAt: context.clock() - HOUR,
      })
    }
  }

  it('has twenty clients registered within an hour, at whatever issuers, and a thousand in all', async () => {
    for (let n = 0; n < 20; n++) await register(undeclared(n), 'same')
    for (const [n, issuer] of [
      [20, 'same'],
      [0, 'other'],
    ] as const) {
      await expect(register(undeclared(n), issuer)).rejects.toThrow(
        'at https://mcp.example have had 20 clients registered within an hour',
      )
    }
    expect(registered).toBe(20)
    expect(await register(undeclared(0), 'same')).toMatchObject({ clientId: '/same/register' })
    expect(await register(undeclared(0, 'https://other.example'), 'same')).toMatchObject({
      clientId: '/same/register',
    })
    context.pass(HOUR)
    await hold(979, () => 'https://mcp.example')
    await register(undeclared(20), 'same')
    await expect(register(undeclared(21), 'same')).rejects.toThrow(
      'at https://mcp.example have had 1000 clients registered;',
    )
    await register(undeclared(21, 'https://other.example'), 'same')
  })

  it('has a hundred clients registered within an hour, at whatever origins, and five thousand in all', async () => {
    const wildcard = (n: number): string => `https://h${n}.mcp.example`
    for (let n = 0; n < 100; n++) await register(undeclared(n, wildcard(n)), 'same')
    const other = (n: number) => register(undeclared(n, wildcard(n)), 'same')
    await expect(other(100)).rejects.toThrow(
      'All undeclared upstreams together have had 100 clients registered within an hour',
    )
    expect(registered).toBe(100)
    expect(await other(7)).toMatchObject({ clientId: '/same/register' })
    await register(declare('https://h0.mcp.example/declared'), 'same')
    context.pass(HOUR)
    await hold(4899, wildcard)
    await other(5000)
    await expect(other(5001)).rejects.toThrow(
      'All undeclared upstreams together have had 5000 clients registered;',
    )
  })

  it('asks for a hundred within an hour where all are refused, too', async () => {
    refuses = true
    for (let n = 0; n < 120; n++) {
      const url = `https://h${n}.mcp.example`
      await expect(register(undeclared(n, url), `i${n}`)).rejects.toThrow(
        n < 100 ? 'answered with status 403' : 'All undeclared upstreams together have had 100 clients',
      )
    }
    expect(registered).toBe(100)
  })
})
