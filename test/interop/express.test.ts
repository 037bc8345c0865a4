import express5 from 'express'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { callTool } from '../support/call-tool.js'
import { startDcrGateway, type DcrGateway, type DcrGatewayOptions } from '../support/dcr-gateway.js'
import { express4, startWorld, type World } from '../support/gateway.js'
import { createPerson, type Page, type Person } from '../support/person.js'
import { HANDLERS } from './handlers.js'

describe.each([
  ['Express 5', express5],
  ['Express 4', express4],
])('%s', (_version, express) => {
  let world: World
  let gateway: DcrGateway
  let alice: Person

  beforeEach(async () => void (world = await startWorld()))

  afterEach(async () => {
    await gateway.close()
    await world.close()
  })

  async function start(options: Partial<DcrGatewayOptions> = {}): Promise<void> {
    gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url }, express, ...options })
    alice = createPerson()
    alice.setCookie(gateway.url, 'user=alice; Path=/')
  }

  const whoami = () => callTool(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } }, 'whoami')

  it.each(Object.entries(HANDLERS))('signs a person in, in front of %s', async (_name, handlerOf) => {
    await start({
      mountServers: false,
      routes: (app) => app.use('/mcp/notes', handlerOf(world.mcpServer.url)),
    })
    await expect(whoami()).rejects.toThrow(`${gateway.url}/api/oauth/authorize/notes`)
    const page = await alice.signIn(`${gateway.url}/mcp/notes/page?tab=2`)
    expect([page.status, page.url]).toEqual([200, `${gateway.url}/mcp/notes/page?tab=2`])
    expect(page.text).toContain('You are alice')
    expect((await whoami()).text).toBe('alice')
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
  })

  it('begins a sign-in at the authorize route, finishes it at the callback, and lists the connection', async () => {
    await start()
    const states = async (): Promise<unknown> => {
      const { status, headers, text } = await alice.fetch(`${gateway.url}/api/oauth/connections`)
      expect([status, headers.get('content-type')]).toEqual([200, 'application/json'])
      return JSON.parse(text).connections.map((it: Record<string, string>) => [it.server, it.state])
    }
    expect(await states()).toEqual([['notes', 'not_connected']])

    const authorize = await alice.open(`${gateway.url}/api/oauth/authorize/notes?return_to=/mcp/notes/page`)
    expect([authorize.status, authorize.location]).toEqual([
      302,
      expect.stringContaining(`${world.authorizationServer.issuer}/auth?`),
    ])
    const page = await alice.signIn(authorize.location ?? '')
    const callback = page.hops.find(({ url }) => url.includes('/api/oauth/callback?'))
    expect([callback?.status, callback?.location]).toEqual([303, `${gateway.url}/mcp/notes/page`])
    expect(page.text).toContain('You are alice')
    expect(await states()).toEqual([['notes', 'connected']])
  })

  it('answers what fails with a page, and with problem details', async () => {
    await start()
    expectErrorPage(
      await alice.open(`${gateway.url}/api/oauth/callback?state=x&code=x`),
      400,
      'flow_not_found',
    )
    expectErrorPage(await alice.open(`${gateway.url}/api/oauth/authorize/other`), 404, 'unknown_server')
    expectErrorPage(await alice.open(`${gateway.url}/api/oauth/nothing`), 404, 'not_found')
    expectErrorPage(
      await alice.signIn(`${gateway.url}/mcp/notes/page`, { decision: 'deny' }),
      403,
      'access_denied',
    )
    const { status, headers, text } = await alice.fetch(`${gateway.url}/api/oauth/nothing`)
    expect([status, headers.get('content-type')]).toEqual([404, 'application/problem+json'])
    expect(JSON.parse(text)).toMatchObject({ status: 404, code: 'not_found' })
  })

  it('serves client.json where the base URL is https', async () => {
    const baseUrl = 'https://gateway.example.com'
    await start({ options: () => ({ baseUrl, encryptionKey: 'k'.repeat(32) }) })
    const url = `${baseUrl}/api/oauth/client.json`
    const { status, text } = await createPerson({ hosts: { [baseUrl]: gateway.url } }).fetch(url)
    expect([status, JSON.parse(text)]).toMatchObject([
      200,
      { client_id: url, redirect_uris: [`${baseUrl}/api/oauth/callback`] },
    ])
  })
})

function expectErrorPage(page: Page, status: number, code: string): void {
  expect([page.status, page.headers.get('content-type')]).toEqual([status, 'text/html; charset=utf-8'])
  expect(page.text).toContain(`Error code: ${code}`)
}
