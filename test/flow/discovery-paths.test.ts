import { afterEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, NOTES_PAGE } from '../support/visit.js'

// An MCP server and an issuer that both have a path, of which nothing is known at their roots.

const MCP_PATH = '/tenants/1/mcp'
const PRM = `/.well-known/oauth-protected-resource${MCP_PATH}`
const ASM = '/.well-known/oauth-authorization-server/issuers/one'

let world: World
let gateway: DcrGateway

async function start(): Promise<void> {
  world = await startWorld({
    authorizationServer: { path: '/issuers/one' },
    mcpServer: { path: MCP_PATH, metadataAt: ['path'] },
  })
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    routes: (app) => {
      app.get('/fetched', async (req, res, next) => {
        try {
          res.sendStatus((await req.mcp.fetch(`${world.mcpServer.url}/page`)).status)
        } catch (error) {
          next(error)
        }
      })
    },
  })
}

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const wellKnown = ({ requests }: { requests: readonly { path: string }[] }): string[] =>
  requests.map(({ path }) => path).filter((path) => path.startsWith('/.well-known/'))

describe.each([
  ['a request that is proxied', (): string => NOTES_PAGE],
  ['req.mcp.fetch', (): string => '/fetched'],
  ['the connect URL, before anything was asked', (): string => '/api/oauth/authorize/notes'],
  [
    'dcr.fetch, and the connect URL that it names',
    async (): Promise<string> => {
      const fetched = gateway.dcr.fetch('alice', 'notes')(world.mcpServer.url, { method: 'POST' })
      const error = (await fetched.catch((thrown: unknown) => thrown)) as { authorizationUrl?: string }
      return new URL(error.authorizationUrl ?? '').pathname
    },
  ],
])('a sign-in that begins with %s', (_name, begin) => {
  it.each([
    ['names the metadata', (): string => `Bearer resource_metadata="${world.mcpServer.origin}${PRM}"`],
    ['names none', (): string => 'Bearer'],
  ])(
    'finds what has a path, by the one discovery, where the challenge %s (FIELD-NOTES 30)',
    async (_how, says) => {
      await start()
      world.mcpServer.challenge = says
      const alice = browserOf('alice', gateway.url)
      const page = await alice.signIn(gateway.url + (await begin()))
      expect(page.status).toBe(200)
      expect(wellKnown(world.mcpServer)).toEqual([PRM])
      expect(wellKnown(world.authorizationServer)).toEqual([ASM])
      const [exchange] = world.authorizationServer.requests.filter(({ path }) => path.endsWith('/token'))
      expect(exchange?.form.get('resource')).toBe(world.mcpServer.url)
      expect((await alice.open(gateway.url + NOTES_PAGE)).status).toBe(200)
    },
  )
})
