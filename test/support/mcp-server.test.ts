import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { bearer } from './call-tool.js'
import { startWorld, type World } from './gateway.js'
import { createPerson } from './person.js'
import { registerClient, signInWith } from './sign-up.js'

let world: World
beforeAll(async () => {
  world = await startWorld({ authorizationServer: { ownClients: true } })
})
afterAll(() => world.close())
afterEach(() => void (world.mcpServer.rejectAll = false))

const scope = 'mcp:read'
const signedUp = async () => {
  const config = await registerClient(world.authorizationServer)
  return { config, tokens: await signInWith(config, { resource: world.mcpServer.resource, scope }) }
}

const initialize = {
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":1}}}',
}
const post = (url: string, token?: string) =>
  fetch(url, { ...initialize, headers: { ...initialize.headers, ...(token && bearer(token).headers) } })

it('challenges a request without a token, and its metadata leads to the issuer', async () => {
  const { mcpServer, authorizationServer } = world
  const response = await post(mcpServer.url)
  const metadataUrl = `${mcpServer.origin}/.well-known/oauth-protected-resource/mcp`
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toBe(`Bearer resource_metadata="${metadataUrl}"`)
  for (const url of [metadataUrl, `${mcpServer.origin}/.well-known/oauth-protected-resource`]) {
    expect(await (await fetch(url)).json()).toMatchObject({
      resource: mcpServer.url,
      authorization_servers: [authorizationServer.issuer],
      scopes_supported: ['mcp:read', 'mcp:write'],
    })
  }
})

it('refuses a token for another resource, one that is expired, and those it was told to refuse', async () => {
  const { config, tokens } = await signedUp()
  const { mcpServer } = world
  const other = await signInWith(config, { resource: 'https://other.example/mcp', scope })
  const invalid = 'error="invalid_token"'
  expect((await post(mcpServer.url, other.access_token)).headers.get('www-authenticate')).toContain(invalid)

  const later = await world.addMcpServer({
    resource: mcpServer.resource,
    clock: () => Date.now() + 3_601_000,
  })
  expect((await post(later.url, tokens.access_token)).status).toBe(401)

  expect((await post(mcpServer.url, tokens.access_token)).status).toBe(200)
  mcpServer.rejectAll = true
  expect((await post(mcpServer.url, tokens.access_token)).status).toBe(401)
  mcpServer.rejectAll = false
  mcpServer.revokeSeen()
  expect((await post(mcpServer.url, tokens.access_token)).status).toBe(401)
  expect(mcpServer.requests.at(-1)?.authorization).toBe(`Bearer ${tokens.access_token}`)
})

it('answers 403 insufficient_scope for a tool that needs more', async () => {
  const mcpServer = await world.addMcpServer({ toolScopes: { add: ['mcp:write'] } })
  const config = await registerClient(world.authorizationServer)
  const person = createPerson()
  const { access_token: little } = await signInWith(
    config,
    { resource: mcpServer.resource, scope },
    { person },
  )
  const refused = await post(mcpServer.url, little)
  expect(refused.status).toBe(403)
  expect(refused.headers.get('www-authenticate')).toContain(
    'error="insufficient_scope", scope="mcp:read mcp:write"',
  )

  const { access_token: enough } = await signInWith(
    config,
    { resource: mcpServer.resource, scope: 'mcp:read mcp:write' },
    { person },
  )
  expect((await post(mcpServer.url, enough)).status).toBe(200)
})

it('sends the challenge that it was told to: none, or several', async () => {
  const silent = await world.addMcpServer({ challenge: () => undefined })
  expect((await post(silent.url)).headers.get('www-authenticate')).toBeNull()
  silent.challenge = () => ['Basic realm="x"', 'Bearer']
  expect((await post(silent.url)).headers.get('www-authenticate')).toBe('Basic realm="x", Bearer')
})

it('has a page and an event stream behind the token', async () => {
  const { tokens } = await signedUp()
  const { mcpServer } = world
  expect((await fetch(`${mcpServer.url}/page`)).status).toBe(401)
  expect(await (await fetch(`${mcpServer.url}/page`, bearer(tokens.access_token))).text()).toContain(
    'You are alice',
  )

  const stream = await fetch(`${mcpServer.url}/sse`, bearer(tokens.access_token))
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader.read()).value).toBe('data: hello\n\n')
  mcpServer.sendEvent('again')
  expect((await reader.read()).value).toBe('data: again\n\n')
  mcpServer.endEvents()
  expect((await reader.read()).done).toBe(true)
})
