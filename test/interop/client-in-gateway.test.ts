import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'
import type { TestServer } from '../support/server.js'
import { SDKS, type ConnectOptions, type Sdk } from './sdk-clients.js'
import { tokenRequests } from '../support/visit.js'
import { UPSTREAMS } from './upstreams.js'

describe.each(UPSTREAMS)('a gateway that speaks itself to an MCP server of $name', (upstream) => {
  const { sessions, streams } = upstream
  let world: World
  let mcpServer: TestServer

  beforeEach(async () => {
    world = await startWorld()
    mcpServer = await upstream.start(world)
  })

  afterEach(async () => {
    await mcpServer.close()
    await world.close()
  })

  describe.each(SDKS)('with the client of $name', (sdk) => {
    let gateway: DcrGateway
    let alice: Person
    let now: number

    beforeEach(async () => {
      now = Date.now()
      gateway = await startDcrGateway({
        servers: { notes: mcpServer.url },
        mountServers: false,
        options: () => ({ clock: () => now }),
        routes: (app) => {
          app.get('/report', async (req, res) => {
            res.json(await report(sdk, mcpServer.url, { fetch: req.mcp.fetch }))
          })
        },
      })
      alice = createPerson()
      alice.setCookie(gateway.url, 'user=alice; Path=/')
    })

    afterEach(() => gateway.close())

    const expected = {
      tools: ['whoami', 'add', 'count'],
      whoami: 'alice',
      counted: { text: 'counted to 3', progress: streams ? [1, 2, 3] : [] },
      session: sessions,
    }

    it('over req.mcp.fetch: sends the person through the sign-in, then lists and calls tools', async () => {
      const program = await alice.fetch(`${gateway.url}/report`)
      expect(program.status).toBe(401)
      expect(JSON.parse(program.text)).toMatchObject({
        code: 'authorization_required',
        authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
      })
      expect(authorizationServerSaw()).toEqual(['GET /.well-known/oauth-authorization-server', 'POST /reg'])

      const page = await alice.signIn(`${gateway.url}/report`)
      expect([page.status, page.url]).toEqual([200, `${gateway.url}/report`])
      expect(JSON.parse(page.text)).toEqual(expected)
    })

    it('over dcr.fetch: learns where to sign in, then lists and calls tools', async () => {
      const upstreamFetch = gateway.dcr.fetch('alice', 'notes')
      await expect(upstreamFetch(mcpServer.url)).rejects.toMatchObject({
        code: 'authorization_required',
        authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
      })
      await expect(sdk.connect(mcpServer.url, { fetch: upstreamFetch })).rejects.toThrow()
      expect(authorizationServerSaw()).toEqual([])

      await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
      expect(await report(sdk, mcpServer.url, { fetch: upstreamFetch })).toEqual(expected)
    })

    it('over dcr.fetch: a session outlives a token that expires, and one that is rejected', async () => {
      await alice.signIn(`${gateway.url}/api/oauth/authorize/notes`)
      const client = await sdk.connect(mcpServer.url, { fetch: gateway.dcr.fetch('alice', 'notes') })
      const { sessionId } = client
      now += 3600_000
      expect(await client.callTool('whoami')).toMatchObject({ text: 'alice' })
      expect(tokenRequests(world.authorizationServer, 'refresh_token')).toHaveLength(1)

      const rejected = mcpServer.requests.at(-1)?.authorization
      mcpServer.intercept = (_req, res, { authorization }) => {
        if (authorization !== rejected) return false
        res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
        return true
      }
      now += 60_000
      expect(await client.callTool('count', { to: 3 })).toEqual(expected.counted)
      expect(tokenRequests(world.authorizationServer, 'refresh_token')).toHaveLength(2)
      expect(client.sessionId).toBe(sessionId)
      await client.close()
    })
  })

  function authorizationServerSaw(): string[] {
    return world.authorizationServer.requests.map(({ method, path }) => `${method} ${path}`)
  }
})

async function report(sdk: Sdk, url: string, options: ConnectOptions) {
  const client = await sdk.connect(url, options)
  const session = client.sessionId !== undefined
  try {
    return {
      tools: await client.listTools(),
      whoami: (await client.callTool('whoami')).text,
      counted: await client.callTool('count', { to: 3 }),
      session,
    }
  } finally {
    await client.close()
  }
}
