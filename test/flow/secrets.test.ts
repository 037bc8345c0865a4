import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createPerson } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let now = Date.now()
const printed = (['log', 'info', 'warn', 'error', 'debug'] as const).map((it) => vi.spyOn(console, it))

beforeEach(async () => {
  now = Date.now()
  world = await startWorld({
    authorizationServer: {
      // A confidential client, so that there is a client secret to leak.
      metadata: (document) => ({
        ...document,
        token_endpoint_auth_methods_supported: ['client_secret_basic'],
      }),
    },
  })
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ clock: () => now }),
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

/** Every secret of the flow, as the authorization server sent or received it. */
function secrets(): Map<string, string> {
  const found = new Map<string, string>()
  for (const { path, form, authorization, response } of exchanges()) {
    if (path === '/token') {
      found.set(`code_verifier ${found.size}`, form?.get('code_verifier') ?? '')
      const basic = Buffer.from(authorization?.slice('Basic '.length) ?? '', 'base64').toString()
      found.set(`client_secret ${found.size}`, decodeURIComponent(basic.split(':')[1] ?? ''))
    }
    for (const name of ['access_token', 'refresh_token', 'client_secret', 'registration_access_token']) {
      const value = response[name]
      if (typeof value === 'string') found.set(`${name} of ${path} ${found.size}`, value)
    }
  }
  return new Map([...found].filter(([, value]) => value !== ''))
}

const responses: { path: string; response: Record<string, unknown> }[] = []

interface Exchange {
  path: string
  form: URLSearchParams | undefined
  authorization: string | undefined
  response: Record<string, unknown>
}

function exchanges(): Exchange[] {
  const requests = world.authorizationServer.requests.map(({ path, form, authorization }) => ({
    path,
    form,
    authorization,
    response: {},
  }))
  return [...requests, ...responses.map((it) => ({ ...it, form: undefined, authorization: undefined }))]
}

it('shows no secret in logs, bodies, headers, URLs or the store file, through a whole life of a connection', async () => {
  responses.length = 0
  const realFetch = globalThis.fetch
  globalThis.fetch = async (input, init) => {
    const response = await realFetch(input, init)
    const path = new URL(input instanceof Request ? input.url : String(input)).pathname
    if (path === '/token' || path.startsWith('/reg')) {
      const body = await response.clone().text()
      responses.push({ path, response: JSON.parse(body || '{}') as Record<string, unknown> })
    }
    return response
  }
  try {
    await wholeLife()
  } finally {
    globalThis.fetch = realFetch
  }
  const hidden = secrets()
  expect([...hidden.keys()].map((name) => name.replace(/ \d+$/, ''))).toEqual(
    expect.arrayContaining([
      'code_verifier',
      'client_secret',
      'access_token of /token',
      'refresh_token of /token',
      'client_secret of /reg',
      'registration_access_token of /reg',
    ]),
  )
  const shown = new Map<string, string>([
    ['log', gateway.log.join('\n')],
    ...readdirSync(gateway.directory)
      .filter((name) => !name.endsWith('.lock'))
      .map((name): [string, string] => [name, readFileSync(join(gateway.directory, name), 'utf8')]),
    [
      'console',
      inspect(
        printed.map(({ mock }) => mock.calls),
        { depth: 10 },
      ),
    ],
    ['URLs of the MCP server', world.mcpServer.requests.map(({ url }) => url).join('\n')],
    ...seen.map((text, i): [string, string] => [`answer ${i}`, text]),
  ])
  for (const [where, text] of shown) {
    for (const [name, secret] of hidden) expect(text.includes(secret), `${name} in ${where}`).toBe(false)
  }
  // The check would see one if it were there: what is not secret is found.
  expect(shown.get('store.json')).toContain(world.authorizationServer.issuer)
  expect(gateway.log.join('\n')).toContain('refresh refused')
})

const seen: string[] = []

async function wholeLife(): Promise<void> {
  seen.length = 0
  const alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  const page = await alice.signIn(`${gateway.url}/mcp/notes/page`)
  expect(page.status).toBe(200)
  seen.push(...page.hops.map(({ url, headers, text }) => `${url} ${JSON.stringify([...headers])} ${text}`))
  const note = async (path: string, headers = {}): Promise<void> => {
    const { status, headers: answered, text } = await alice.fetch(gateway.url + path, { headers })
    seen.push(`${status} ${JSON.stringify([...answered])} ${text}`)
  }
  await note('/api/oauth/connections')
  await note('/api/oauth/connected/notes')
  now += 3_600_000
  await note('/mcp/notes/page')
  world.authorizationServer.intercept = (_req, res, { path }) => {
    if (path !== '/token') return false
    res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
    return true
  }
  now += 3_600_000
  await note('/mcp/notes/page')
  await note('/api/oauth/connections')
  // A token answer that cannot be used, full of secrets.
  const leaky = { access_token: 'leaky\nsecret', refresh_token: 'leaky-refresh', token_type: 'bearer' }
  world.authorizationServer.intercept = (_req, res, { path }) => {
    if (path !== '/token') return false
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(leaky))
    return true
  }
  const failed = await alice.signIn(`${gateway.url}/mcp/notes/page`)
  world.authorizationServer.intercept = undefined
  const { registrations } = gateway.dcr
  const [registration] = await registrations.list()
  const contacts = ['ops@example.com']
  seen.push(
    inspect(registration),
    inspect(await registrations.read(registration?.id ?? ''), { depth: 10 }),
    inspect(await registrations.update(registration?.id ?? '', { contacts })),
  )
  await alice.signIn(`${gateway.url}/mcp/notes/page`)
  await gateway.dcr.disconnect('alice', 'notes')
  expect(failed.text).toContain('token_response_invalid')
  seen.push(failed.text)
}
