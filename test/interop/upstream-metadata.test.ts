import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { listen, type TestServer } from '../support/server.js'

let upstream: TestServer
let gateway: DcrGateway

/** An MCP server at its origin's root, which is its own authorization server: its metadata is below its URL. */
beforeEach(async () => {
  upstream = await listen()
  upstream.intercept = (_req, res) => {
    res.writeHead(200, { 'content-type': 'application/json' }).end(`{"issuer":"${upstream.url}"}`)
    return true
  }
  gateway = await startDcrGateway({ servers: { notes: upstream.url } })
})

afterEach(async () => {
  await gateway.close()
  await upstream.close()
})

const get = (path: string) => fetch(gateway.url + path, { headers: { 'x-user': 'alice' } })

describe('an MCP client that looks for OAuth metadata at the gateway', () => {
  it.each(['oauth-protected-resource', 'oauth-authorization-server', 'openid-configuration'])(
    'finds no %s, and none of the upstream’s',
    async (name) => {
      for (const path of [
        `/.well-known/${name}`,
        `/.well-known/${name}/mcp/notes`,
        `/mcp/notes/.well-known/${name}`,
        `/mcp/notes/.well-known/${name}/mcp`,
        `/MCP/notes/.Well-Known/${name}/`,
        `/mcp/notes/%2ewell-known/${name}`,
      ]) {
        expect([path, (await get(path)).status]).toEqual([path, 404])
      }
      expect(upstream.requests).toEqual([])
    },
  )

  it('reaches everything else of the upstream', async () => {
    for (const path of ['/mcp/notes/.well-known/mcp.json', `/mcp/notes/oauth-protected-resource`]) {
      expect((await get(path)).status).toBe(200)
    }
  })
})
