import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { OAuthConfig, RegistrationInfo } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Person } from '../support/person.js'
import { issueInitialAccessToken, refuse, registrationPolicies, type Policy } from '../support/policies.js'
import { browserOf, connect, expectRefresh, NOTES_PAGE, tokenRequests } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let initialAccessToken: string
let directory: string

/** An authorization server with this policy, and a gateway that holds an initial access token which is bound to it. */
async function startUnder(policy: Policy, configure?: (token: string) => OAuthConfig): Promise<void> {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld({ authorizationServer: { configure: registrationPolicies({ policy }) } })
  initialAccessToken = await issueInitialAccessToken(world.authorizationServer, ['policy'])
  await startGateway('A gateway', configure?.(initialAccessToken))
}

async function startGateway(
  clientName: string,
  oauthConfig: OAuthConfig = { initialAccessToken },
  port?: number,
): Promise<void> {
  const { url } = world.mcpServer
  gateway = await startDcrGateway({
    servers: { notes: url },
    options: () => ({ servers: { notes: { url, oauthConfig } }, clientName }),
    directory,
    ...(port !== undefined && { port }),
  })
}

/** Restarts the gateway under another name: its client has to change. */
async function rename(): Promise<void> {
  await gateway.close()
  await startGateway('Renamed', undefined, gateway.port)
}

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true })
})

const signIn = (user: string): Promise<Person> => connect(user, gateway.url)

/** The MCP server takes none of the tokens any more that it has seen. */
function refreshes(person: Person): Promise<string> {
  world.mcpServer.revokeSeen()
  return expectRefresh(person, gateway.url, world.authorizationServer)
}

/** What was asked for at registration, in order. */
function asked(): Record<string, unknown>[] {
  return world.authorizationServer.requests
    .filter(({ method, path }) => method === 'POST' && path === '/reg')
    .map(({ body }) => JSON.parse(body) as Record<string, unknown>)
}

async function only(): Promise<RegistrationInfo> {
  const [registration, ...more] = await gateway.dcr.registrations.list()
  expect(more).toEqual([])
  return registration as RegistrationInfo
}

/** What a program is told (RFC 9457). */
async function problem(): Promise<Record<string, unknown>> {
  const answer = await browserOf('alice', gateway.url).fetch(gateway.url + NOTES_PAGE)
  return JSON.parse(answer.text) as Record<string, unknown>
}

async function expectNothingKept(): Promise<void> {
  expect(await gateway.dcr.registrations.list()).toEqual([])
  expect(world.authorizationServer.registrations()).toBe(0)
}

const SCOPE = 'mcp:read mcp:write offline_access'

describe('a registration policy that refuses', () => {
  it('a method: another is asked for, once; sign-in and refresh work', async () => {
    await startUnder((_ctx, { token_endpoint_auth_method: method }) =>
      method === 'none' ? refuse('token_endpoint_auth_method none is not allowed here') : undefined,
    )
    const alice = await signIn('alice')
    expect(asked().map((it) => [it.token_endpoint_auth_method, it.scope])).toEqual([
      ['none', SCOPE],
      ['client_secret_basic', SCOPE],
    ])
    await refreshes(alice)
  })

  it('a scope: it is left out, once; sign-in and refresh work', async () => {
    await startUnder((_ctx, { scope = '' }) =>
      scope.includes('mcp:write') ? refuse('mcp:write is not for everybody') : undefined,
    )
    const alice = await signIn('alice')
    await refreshes(alice)
    await signIn('bob')
    expect(asked().map((it) => it.scope)).toEqual([SCOPE, undefined])
  })

  it('whatever is asked: says what it said and what to do, after two requests, and keeps nothing', async () => {
    await startUnder(() => refuse('no clients today'))
    expect(await problem()).toMatchObject({
      status: 502,
      code: 'invalid_client_metadata',
      server: 'notes',
      detail: expect.stringContaining('no clients today'),
      fix: expect.stringContaining('oauthConfig.clientMetadata'),
    })
    expect(asked()).toHaveLength(2)
    await expectNothingKept()
  })

  it('by another error: says so on a page, after one request, and keeps nothing', async () => {
    await startUnder(async () => {
      const { errors } = await import('oidc-provider')
      throw new errors.AccessDenied('gateways have to be approved')
    })
    const page = await browserOf('alice', gateway.url).open(gateway.url + NOTES_PAGE)
    expect(page.status).toBe(502)
    expect(page.text).toContain('registration_failed')
    expect(page.text).toContain('gateways have to be approved')
    expect(asked()).toHaveLength(1)
    await expectNothingKept()
  })

  it('a change: registers again; what was issued under the former client still refreshes', async () => {
    await startUnder((ctx) => (ctx.method === 'PUT' ? refuse('clients do not change here') : undefined))
    const alice = await signIn('alice')
    const { clientId } = await only()
    await rename()
    const bob = await signIn('bob')
    expect(asked().map((it) => it.client_name)).toEqual(['A gateway', 'Renamed'])
    expect(await refreshes(alice)).toBe(clientId)
    expect(await refreshes(bob)).not.toBe(clientId)
  })
})

describe('a registration policy that substitutes', () => {
  /** oidc-provider gives a secret to what was asked for, before its policies run. */
  const force =
    (method: 'client_secret_basic' | 'client_secret_post'): Policy =>
    (_ctx, metadata) => {
      metadata.client_secret ??= randomUUID()
      metadata.token_endpoint_auth_method = method
    }

  it.each([
    ['client_secret_basic', { basic: true, post: false }],
    ['client_secret_post', { basic: false, post: true }],
  ] as const)('the method, by %s: that is used in sign-in and refresh', async (method, used) => {
    await startUnder(force(method))
    const alice = await signIn('alice')
    await refreshes(alice)
    expect(asked().map((it) => it.token_endpoint_auth_method)).toEqual(['none'])
    for (const grantType of ['authorization_code', 'refresh_token']) {
      const [request] = tokenRequests(world.authorizationServer, grantType)
      const basic = request?.authorization?.startsWith('Basic ') ?? false
      expect({ basic, post: request?.form.has('client_secret') }).toEqual(used)
    }
  })

  it('the method, once: a change keeps it, the secret and the client', async () => {
    const policy = force('client_secret_basic')
    await startUnder((ctx, metadata) => (ctx.method === 'PUT' ? undefined : policy(ctx, metadata)))
    const alice = await signIn('alice')
    const { clientId = '' } = await only()
    await rename()
    await signIn('bob')
    const client = await world.authorizationServer.provider.Client.find(clientId)
    expect(client?.metadata()).toMatchObject({
      client_name: 'Renamed',
      token_endpoint_auth_method: 'client_secret_basic',
    })
    expect(await refreshes(alice)).toBe(clientId)
    expect(asked()).toHaveLength(1)
  })

  it('a narrower scope: no more is asked for, in sign-in and refresh, and nobody registers again', async () => {
    await startUnder((_ctx, metadata) => void (metadata.scope = 'mcp:read'))
    const alice = await signIn('alice')
    await refreshes(alice)
    await signIn('bob')
    const authorizations = world.authorizationServer.requests.filter(({ path }) => path === '/auth')
    expect(authorizations.map(({ url }) => new URL(url, gateway.url).searchParams.get('scope'))).toEqual([
      'mcp:read',
      'mcp:read',
    ])
    expect(await gateway.dcr.connections('alice')).toMatchObject([{ state: 'connected', scope: 'mcp:read' }])
    expect(asked()).toHaveLength(1)
  })

  it('other values: they are left alone, shown as what the issuer says, and no drift until they change', async () => {
    const forced = { client_name: 'Named by the policy', contacts: ['ops@as.example'] }
    await startUnder((_ctx, metadata) => void Object.assign(metadata, forced))
    const alice = await signIn('alice')
    await refreshes(alice)
    await signIn('bob')
    expect(world.authorizationServer.requests.filter(({ path }) => path.startsWith('/reg'))).toHaveLength(1)
    const { remote, drift } = await gateway.dcr.registrations.read((await only()).id)
    expect(remote).toMatchObject(forced)
    expect(drift).toEqual([])
    world.authorizationServer.changeClient((await only()).clientId ?? '', { client_name: 'Named by hand' })
    expect((await gateway.dcr.registrations.read((await only()).id)).drift).toEqual([
      { member: 'client_name', held: 'Named by the policy', remote: 'Named by hand' },
    ])
  })
})

describe('an initial access token (RFC 7591 §3)', () => {
  it.each<[string, OAuthConfig, RegExp]>([
    ['missing', {}, /status 401 .*no access token provided/],
    ['wrong', { initialAccessToken: 'hush-wrong' }, /status 401 .*invalid_token/],
  ])('that is %s: says so, after one request, and keeps nothing', async (_what, oauthConfig, says) => {
    await startUnder(
      () => undefined,
      () => oauthConfig,
    )
    expect(await problem()).toMatchObject({
      status: 502,
      code: 'registration_failed',
      detail: expect.stringMatching(says),
      fix: expect.stringContaining('oauthConfig.initialAccessToken'),
    })
    expect(gateway.log.join('\n')).not.toContain('hush')
    expect(asked()).toHaveLength(1)
    await expectNothingKept()
  })

  it('is asked for at each registration, and not once there is a client', async () => {
    const tokens = ['stale']
    await startUnder(
      () => undefined,
      (valid) => ({ initialAccessToken: () => tokens.shift() ?? valid }),
    )
    expect(await problem()).toMatchObject({ code: 'registration_failed' })
    const alice = await signIn('alice')
    await (await world.authorizationServer.provider.InitialAccessToken.find(initialAccessToken))?.destroy()
    await refreshes(alice)
    await signIn('bob')
    expect([asked().length, world.authorizationServer.registrations()]).toEqual([2, 1])
  })
})
