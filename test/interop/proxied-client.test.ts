import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson } from '../support/person.js'
import { refusalOf } from '../support/refusal.js'
import type { TestServer } from '../support/server.js'
import { SDKS, type ConnectOptions } from './sdk-clients.js'
import { UPSTREAMS } from './upstreams.js'

const ALICE = { 'x-user': 'alice' }

describe.each(UPSTREAMS)('through http-proxy-middleware, an MCP server of $name', (upstream) => {
  const { newestVersion, sessions, streams } = upstream
  let world: World
  let mcpServer: TestServer
  let gateway: DcrGateway
  let url: string

  beforeEach(async () => {
    world = await startWorld()
    mcpServer = await upstream.start(world)
    gateway = await startDcrGateway({ servers: { notes: mcpServer.url } })
    url = `${gateway.url}/mcp/notes`
  })

  afterEach(async () => {
    await gateway.close()
    await mcpServer.close()
    await world.close()
  })

  async function signIn(): Promise<void> {
    const alice = createPerson()
    alice.setCookie(gateway.url, 'user=alice; Path=/')
    expect((await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)).text).toContain('Connected')
  }

  describe.each(SDKS)('and a client of $name', ({ connect, negotiates }) => {
    it('lists and calls tools, once the person is connected', async () => {
      await signIn()
      const client = await connect(url, { headers: ALICE })
      expect(client.protocolVersion).toBe(negotiates ? newestVersion : '2025-11-25')
      expect(await client.listTools()).toEqual(['whoami', 'add', 'count'])
      expect(await client.callTool('whoami')).toEqual({ text: 'alice', progress: [] })
      expect(await client.callTool('add', { a: 2, b: 3 })).toEqual({ text: '5', progress: [] })
      await client.close()
    })

    it('keeps its session, and hears of progress while the call is under way', async () => {
      await signIn()
      const client = await connect(url, { headers: ALICE })
      expect(client.sessionId !== undefined).toBe(sessions)
      expect(await client.callTool('count', { to: 5 })).toEqual({
        text: 'counted to 5',
        progress: streams ? [1, 2, 3, 4, 5] : [],
      })
      await client.close()
      expect(mcpServer.count('DELETE', /^\/mcp/)).toBe(sessions ? 1 : 0)
    })

    it('before that, gets the gateway’s answer and nothing of the upstream’s', async () => {
      const answers: Response[] = []
      const options: ConnectOptions = {
        headers: ALICE,
        async fetch(input, init) {
          const answer = await fetch(input, init)
          answers.push(answer.clone())
          return answer
        },
      }
      const authorizationUrl = `${gateway.url}/api/oauth/authorize/notes`
      await expect(connect(url, options)).rejects.toThrow(authorizationUrl)
      for (const answer of answers) {
        expect(answer.status).toBe(200)
        expect(await refusalOf(answer)).toMatchObject({
          code: 'authorization_required',
          authorizationUrl,
        })
        expect(answer.headers.get('www-authenticate')).toBeNull()
      }
      expectOnlyTheGateway()
    })

    it('with OAuth of its own, finds no way to the upstream’s authorization server', async () => {
      const redirects: URL[] = []
      const authProvider = {
        redirectUrl: 'http://localhost:1/callback',
        clientMetadata: { client_name: 'The client itself', redirect_uris: ['http://localhost:1/callback'] },
        clientInformation: () => undefined,
        saveClientInformation: () => undefined,
        tokens: () => undefined,
        saveTokens: () => undefined,
        redirectToAuthorization: (to: URL) => void redirects.push(to),
        saveCodeVerifier: () => undefined,
        codeVerifier: () => '',
      }
      await expect(connect(url, { headers: ALICE, authProvider })).rejects.toThrow()
      expect(redirects).toEqual([])
      expectOnlyTheGateway()
    })
  })

  /** At the authorization server: the gateway's discovery and registration, and no sign-in. */
  function expectOnlyTheGateway(): void {
    const { requests } = world.authorizationServer
    expect(requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /.well-known/oauth-authorization-server',
      'POST /reg',
    ])
    expect(JSON.parse(requests[1]?.body ?? '')).toMatchObject({ client_name: 'MCP Gateway' })
  }
})
