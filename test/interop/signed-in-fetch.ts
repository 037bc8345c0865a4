import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Intercept } from '../support/server.js'
import { browserOf, tokenRequests } from '../support/visit.js'

/** `dcr.fetch` of Alice, who is signed in to the MCP server `notes`. */
export interface SignedInFetch {
  readonly world: World
  readonly gateway: DcrGateway
  readonly fetch: typeof fetch
  /** Her access token as it is now, as the MCP server sees it. */
  token(): Promise<string>
  /** How often it was refreshed. */
  refreshes(): number
  /** Lets this much time pass, in milliseconds. */
  wait(milliseconds: number): void
  close(): Promise<void>
}

/** @param moreServers beside `notes`, by name */
export async function startSignedInFetch(
  moreServers: (world: World) => Record<string, string> = () => ({}),
): Promise<SignedInFetch> {
  let now = Date.now()
  const world = await startWorld()
  const gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url, ...moreServers(world) },
    options: () => ({ clock: () => now }),
  })
  await browserOf('alice', gateway.url).signIn(`${gateway.url}/api/oauth/authorize/notes`)
  const ofAlice = gateway.dcr.fetch('alice', 'notes')
  return {
    world,
    gateway,
    fetch: ofAlice,
    async token() {
      await (await ofAlice(`${world.mcpServer.url}/page`)).text()
      return world.mcpServer.requests.at(-1)?.authorization ?? 'none'
    },
    refreshes: () => tokenRequests(world.authorizationServer, 'refresh_token').length,
    wait: (milliseconds) => void (now += milliseconds),
    close: async () => {
      await gateway.close()
      await world.close()
    },
  }
}

/** Says what it was sent, body and all, to everyone but the bearer of a token that it rejects. */
export function echo(path: string, rejected?: string): Intercept {
  return async (_req, res, request) => {
    if (request.path !== path) return false
    await request.received
    if (request.authorization === rejected) {
      res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    } else {
      const { method, body, headers, authorization = null } = request
      const type = headers['content-type'] ?? null
      res
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ method, body, type, authorization }))
    }
    return true
  }
}
