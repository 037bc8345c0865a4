import type { BrowserContext } from 'playwright-core'
import { startDcrGateway } from '../support/dcr-gateway.js'
import { startAuthorizationServer } from '../support/authorization-server.js'
import { startWorld } from '../support/gateway.js'
import { createPerson } from '../support/person.js'

/** A gateway with a server in each state that a connection can have, for one person. */
export interface AllStates {
  readonly url: string
  /** Paths of its pages, by what they show. */
  readonly pages: Readonly<Record<string, string>>
  /** Makes this browser the person's, who has also left a sign-in unfinished in it. */
  enter(context: BrowserContext): Promise<void>
  close(): Promise<void>
}

export async function startAllStates(): Promise<AllStates> {
  let now = Date.now()
  const world = await startWorld({ authorizationServer: { accessTokenLifetime: 3600 } })
  const closed = await startAuthorizationServer({ registration: false })
  const names = ['notes', 'calendar', 'wiki', 'photos', 'drafts']
  const servers: Record<string, string> = {}
  for (const name of names) servers[name] = (await world.addMcpServer()).url
  servers['tickets'] = (
    await world.addMcpServer({ metadata: { authorization_servers: [closed.issuer] } })
  ).url
  const gateway = await startDcrGateway({
    servers,
    options: () => ({ clock: () => now, clientName: 'Example Gateway' }),
  })
  const { url, dcr } = gateway
  const alice = createPerson()
  alice.setCookie(url, 'user=alice; Path=/')
  const authorize = (name: string): string => `${url}/api/oauth/authorize/${name}`

  await alice.signIn(authorize('calendar'))
  await alice.signIn(authorize('wiki'))
  // Registered long enough ago that a sign-in which does not come back may have lost its client.
  await alice.open(authorize('drafts'))
  now += 2 * 3_600_000
  world.authorizationServer.intercept = (_req, res, { path }) => {
    if (path !== '/token') return false
    res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
    return true
  }
  await dcr.refresh('alice', 'wiki')
  world.authorizationServer.intercept = undefined
  await alice.signIn(authorize('notes'))
  await alice.open(authorize('tickets'))

  return {
    url,
    pages: {
      connections: '/api/oauth/connections',
      connected: '/api/oauth/connected/notes',
      'an error': '/api/oauth/callback?state=forged&code=x',
      'an error with instructions': '/api/oauth/authorize/tickets',
    },
    async enter(context) {
      await context.addCookies([{ name: 'user', value: 'alice', url }])
      const page = await context.newPage()
      await page.goto(authorize('drafts'))
      await page.close()
    },
    async close() {
      await gateway.close()
      await Promise.all([world.close(), closed.close()])
    },
  }
}
