import { beforeEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/model.js'
import { forgetServer } from '../../src/oauth/disconnect.js'
import { dynamicClient } from '../../src/oauth/dynamic-client.js'
import { refresh } from '../../src/oauth/refresh.js'
import type { OAuthConfig } from '../../src/options.js'
import { createRegistrations } from '../../src/registrations.js'
import { memoryStore } from '../../src/store/memory.js'
import { formerRegistrationKey, registrationKey } from '../../src/store/records.js'
import { connectionBy, startIssuer, type Issuer } from './issuer.js'
import {
  ANN,
  ASM,
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  discoveredAt,
  json,
  metadataOf,
  registrationsOf,
  status,
  text,
  type Reply,
  type TestContext,
} from './support.js'

const TOKENS = { access_token: 'at2', token_type: 'Bearer' }

let issuer: Issuer
let context: TestContext

beforeEach(async () => {
  issuer = await startIssuer()
  context = createOAuthContext()
})

interface Asked {
  scope?: string
  oauthConfig?: OAuthConfig
  baseUrl?: string
  path?: string
}

const ensure = ({ scope = 'read', oauthConfig = {}, baseUrl = BASE_URL, path = '/mcp' }: Asked = {}) =>
  dynamicClient(context, {
    server: declare(issuer.url + path, oauthConfig),
    discovered: discoveredAt(issuer.url),
    scope,
    baseUrl,
  })

const ids = async (): Promise<(string | undefined)[]> =>
  (await registrationsOf(context)).map(({ clientId }) => clientId).sort()

async function connect(clientId: string, user = 'ann', more: Partial<Connection> = {}): Promise<Connection> {
  const connection = connectionBy(issuer, clientId, { user, ...more })
  const key = ANN.replace('ann', user)
  const held = await context.records.connections.get(key)
  await context.records.connections.save(key, held, connection)
  return connection
}

describe('no client is left behind at the issuer', () => {
  it('that is registered but cannot be used', async () => {
    issuer.amend = () => ({ token_endpoint_auth_method: 'private_key_jwt' })
    await expect(ensure()).rejects.toMatchObject({ code: 'registration_response_invalid' })
    expect([issuer.clients.size, await ids()]).toEqual([0, []])
  })

  it('by turns between three gateways on one store: each has its own in the end', async () => {
    const gateways = [BASE_URL, 'https://two.example', 'https://three.example']
    for (let turn = 0; turn < 4; turn++) for (const baseUrl of gateways) await ensure({ baseUrl })
    const before = issuer.requests.length
    for (const baseUrl of gateways) await ensure({ baseUrl })
    expect(issuer.requests.length).toBe(before)
    expect(await ids()).toHaveLength(3)
    expect(issuer.clients.size).toBe(3)
  })

  it('by turns between two MCP servers of one name', async () => {
    for (let turn = 0; turn < 5; turn++) for (const path of ['/mcp', '/other']) await ensure({ path })
    expect(issuer.sent('POST')).toHaveLength(2)
  })

  it('by an empty member of the configuration, which is sent nowhere', async () => {
    const oauthConfig = { clientMetadata: { policy_uri: '' } }
    for (const scope of ['read', 'write', 'admin']) await ensure({ oauthConfig, scope })
    expect(issuer.sent('POST')).toHaveLength(1)
    for (const body of [...issuer.sent('POST'), ...issuer.sent('PUT')])
      expect(body).not.toHaveProperty('policy_uri')
  })

  it('by a software statement that is not configured any more', async () => {
    await ensure({ oauthConfig: { softwareStatement: 'hush.statement' } })
    await ensure()
    await ensure()
    expect([issuer.sent('POST').length, issuer.sent('PUT').length]).toEqual([1, 1])
  })

  it('by a server that refuses scopes, however many are asked for', async () => {
    issuer.amend = ({ scope }) =>
      scope === undefined ? {} : { error: 'invalid_client_metadata', error_description: 'no scope' }
    for (const scope of ['read', 'write', 'read admin']) expect((await ensure({ scope })).clientId).toBe('c2')
    expect(issuer.sent('POST')).toHaveLength(2)
  })

  it('of those that were replaced and that nobody uses: eight are kept, and the oldest deleted', async () => {
    issuer.fault.PUT = status(405)
    await ensure({ scope: 's0' })
    await connect('c1')
    for (let n = 1; n < 14; n++) {
      context.pass(1000)
      await ensure({ scope: `s${n}` })
    }
    expect((await ids()).length).toBe(issuer.clients.size)
    expect(await ids()).toContain('c1')
    expect(issuer.clients.size).toBeLessThan(12)
  })

  it('by which somebody was connected who has to sign in again: that is no use', async () => {
    issuer.fault.PUT = status(405)
    await ensure({ scope: 's0' })
    await connect('c1', 'ann', { status: 'needs_authorization' })
    for (let n = 1; n < 14; n++) {
      context.pass(1000)
      await ensure({ scope: `s${n}` })
    }
    expect(await ids()).not.toContain('c1')
    expect(issuer.clients.has('c1')).toBe(false)
  })

  it('though its deletion failed: it is tried again', async () => {
    issuer.fault.PUT = status(405)
    issuer.fault.DELETE = status(503)
    for (let n = 0; n < 12; n++) await ensure({ scope: `s${n}` })
    expect(await ids()).toHaveLength(issuer.clients.size)
    delete issuer.fault.DELETE
    await ensure({ scope: 's12' })
    expect(await ids()).toHaveLength(issuer.clients.size)
    expect(issuer.clients.size).toBeLessThan(12)
  })

  it('where the token endpoint refuses every client: it is registered again once, and not for ten minutes', async () => {
    issuer.replies['/token'] = json({ error: 'invalid_client' }, 401)
    const codes: unknown[] = []
    for (let n = 0; n < 4; n++) {
      const client = await ensure().catch((error: { code: string }) => codes.push(error.code))
      if (typeof client === 'number') continue
      await refresh(context, declare(`${issuer.url}/mcp`), await connect(client.clientId))
    }
    expect([issuer.sent('POST').length, codes]).toEqual([2, ['client_invalid', 'client_invalid']])
    expect(JSON.stringify(context.log)).toContain('refuses a client')
    context.pass(10 * 60_000)
    expect((await ensure()).clientId).toBe('c3')
  })

  it('nor where sign-ins begin at one instance and end at another, which refuses them: both count together', async () => {
    const store = memoryStore({ clock: () => context.clock() })
    const [begins, ends] = [createOAuthContext({ store }), createOAuthContext({ store })]
    issuer.replies['/token'] = json({ error: 'invalid_client' }, 401)
    const codes: unknown[] = []
    for (let n = 0; n < 4; n++) {
      context = begins
      const client = await ensure().catch((error: { code: string }) => codes.push(error.code))
      if (typeof client === 'number') continue
      context = ends
      await refresh(context, declare(`${issuer.url}/mcp`), await connect(client.clientId))
    }
    expect([issuer.sent('POST').length, codes]).toEqual([2, ['client_invalid', 'client_invalid']])
  })

  it.each<[string, Reply]>([
    [
      'a method without its secret',
      json({ client_id: 'c1', token_endpoint_auth_method: 'client_secret_basic' }, 201),
    ],
    ['a page', text('<p>Welcome</p>', 'text/html', 201)],
  ])('where every answer is %s: it is tried once more, and not for ten minutes', async (_what, reply) => {
    issuer.replies['/register'] = reply
    const outcomes: unknown[] = []
    for (let n = 0; n < 4; n++) outcomes.push(await ensure().catch((error: { code: string }) => error.code))
    expect([issuer.sent('POST').length, outcomes]).toEqual([
      2,
      ['registration_response_invalid', 'registration_response_invalid', 'client_invalid', 'client_invalid'],
    ])
    context.pass(10 * 60_000)
    await expect(ensure()).rejects.toMatchObject({ code: 'registration_response_invalid' })
  })

  it('where it accepts one meanwhile: each that it refuses is registered again', async () => {
    const reply = { refuse: json({ error: 'invalid_client' }, 401), accept: json(TOKENS) }
    for (const [answer, clientId] of [
      ['refuse', 'c1'],
      ['accept', 'c2'],
      ['refuse', 'c2'],
      ['accept', 'c3'],
    ] as const) {
      issuer.replies['/token'] = reply[answer]
      expect((await ensure()).clientId).toBe(clientId)
      await refresh(context, declare(`${issuer.url}/mcp`), await connect(clientId))
    }
  })
})

describe('what a server echoes', () => {
  it('of a refresh is shown nowhere', async () => {
    issuer.amend = () => ({
      token_endpoint_auth_method: 'client_secret_post',
      client_secret: 'hush-secret',
      client_secret_expires_at: 0,
    })
    await ensure()
    issuer.replies['/token'] = (res, request) => json({ error: request.body }, 400)(res, request)
    const refreshed = refresh(context, declare(`${issuer.url}/mcp`), await connect('c1'))
    const error = await refreshed.then(
      () => expect.fail(),
      (thrown: Error) => thrown,
    )
    expect(`${error.message} ${String(error.cause)} ${JSON.stringify(context.log)}`).not.toContain('hush')
  })

  it('of a revocation is not logged', async () => {
    issuer.amend = () => ({
      token_endpoint_auth_method: 'client_secret_post',
      client_secret: 'hush-secret',
      client_secret_expires_at: 0,
    })
    await ensure()
    issuer.replies['/revoke'] = (res, request) => json({ error: request.body }, 400)(res, request)
    const authorizationServer = metadataOf(issuer.url, { revocation_endpoint: `${issuer.url}/revoke` })
    await connect('c1', 'ann', {
      authorizationServer: authorizationServer as unknown as Connection['authorizationServer'],
    })
    await forgetServer(context, 'notes', declare(`${issuer.url}/mcp`))
    expect(issuer.count('POST', '/revoke')).toBe(2)
    expect(JSON.stringify(context.log)).not.toContain('hush')
  })
})

describe('forgetting a server', () => {
  it('ends the connection of somebody who signs in meanwhile', async () => {
    await ensure()
    issuer.fault.DELETE = (res, request) =>
      void connect('c1', 'bob').then(() => {
        issuer.clients.delete('c1')
        status(204)(res, request)
      })
    await forgetServer(context, 'notes', undefined)
    for await (const { value } of context.records.connections.list()) expect.fail(value.user)
    expect(await ids()).toEqual([])
  })
})

describe('a crash while a client was replaced', () => {
  it('leaves the former one in use where the issuer refuses another', async () => {
    await ensure()
    const key = registrationKey('notes', issuer.url, CALLBACK)
    const held = await context.records.registrations.get(key)
    if (held === undefined) return expect.fail()
    await context.records.registrations.save(formerRegistrationKey(key, 'c1'), undefined, held.value)
    const { clientId: _, registrationAccessToken: __, ...marker } = held.value
    await context.records.registrations.save(key, held, { ...marker, status: 'registering' })
    issuer.replies['/register'] = json({ error: 'access_denied' }, 403)
    expect((await ensure()).clientId).toBe('c1')
  })
})

describe('dcr.registrations', () => {
  const registrations = () => createRegistrations(context, () => declare(`${issuer.url}/mcp`))
  const id = async (): Promise<string> => (await registrations().list())[0]?.id ?? ''

  it.each<[string, Record<string, unknown>]>([
    ['a method that we do not have', { token_endpoint_auth_method: 'private_key_jwt' }],
    ['a method for which there is no secret', { token_endpoint_auth_method: 'client_secret_basic' }],
    ['grants without the one that is used', { grant_types: ['client_credentials'] }],
    ['response types without code', { response_types: ['token'] }],
    ['no scope', { scope: null }],
  ])('does not update a client to %s', async (_name, metadata) => {
    await ensure()
    await expect(registrations().update(await id(), metadata)).rejects.toMatchObject({
      code: 'invalid_request',
    })
    expect(issuer.sent('PUT')).toEqual([])
  })

  it.each([500, 408, 429])(
    'does not register again where a renewal is answered with %i: that passes',
    async (code) => {
      await ensure()
      issuer.replies[ASM] = json(metadataOf(issuer.url))
      issuer.fault.PUT = status(code)
      await expect(registrations().renew(await id())).rejects.toMatchObject({ code: 'management_failed' })
      expect([issuer.sent('POST').length, await ids()]).toEqual([1, ['c1']])
    },
  )

  it('does not manage any more what it replaced since the issuer did not know it', async () => {
    await ensure()
    await connect('c1')
    issuer.replies[ASM] = json(metadataOf(issuer.url))
    issuer.fault.GET = status(401)
    expect(await registrations().renew(await id())).toMatchObject({ clientId: 'c2' })
    const managed = (await registrations().list()).map((it) => [it.clientId, it.managed])
    expect(Object.fromEntries(managed)).toEqual({ c1: false, c2: true })
  })

  it('tells a client that may not be changed from one that is gone', async () => {
    await ensure()
    issuer.fault.PUT = status(404)
    const update = registrations().update(await id(), { contacts: ['a@b.example'] })
    await expect(update).rejects.toMatchObject({ code: 'management_failed' })
    expect(await ids()).toEqual(['c1'])
  })

  it('keeps the method that works, and says so in the log, where the issuer changes it to one that does not', async () => {
    await ensure()
    issuer.amend = () => ({ token_endpoint_auth_method: 'private_key_jwt' })
    const { tokenEndpointAuthMethod } = await registrations().update(await id(), {
      contacts: ['a@b.example'],
    })
    expect(tokenEndpointAuthMethod).toBe('none')
    const warnings = context.log.filter(({ level }) => level === 'warn')
    const said = { details: { server: 'notes', method: 'private_key_jwt' } }
    // It is read before it is replaced.
    expect(warnings).toMatchObject([said, said])
  })

  it('does not move a client that was replaced to another redirect URI', async () => {
    issuer.fault.PUT = status(405)
    await ensure()
    await ensure({ scope: 'write' })
    const key = registrationKey('notes', issuer.url, CALLBACK)
    await context.records.registrations.delete(key)
    issuer.clients.delete('c2')
    delete issuer.fault.PUT
    expect((await ensure({ baseUrl: 'https://two.example' })).clientId).toBe('c3')
    expect(issuer.sent('PUT').length).toBe(1)
  })

  it('has no secret to renew once a client is public', async () => {
    issuer.amend = () => ({
      client_secret: 'hush-s1',
      client_secret_expires_at: context.clock() / 1000 + 1000,
    })
    await ensure({ oauthConfig: { tokenEndpointAuthMethod: 'client_secret_post' } })
    issuer.amend = () => ({ client_secret: undefined, client_secret_expires_at: undefined })
    const client = await ensure({ oauthConfig: { tokenEndpointAuthMethod: 'none' } })
    expect(client).toMatchObject({ clientId: 'c1', tokenEndpointAuthMethod: 'none' })
    context.pass(2_000_000)
    expect((await ensure({ oauthConfig: { tokenEndpointAuthMethod: 'none' } })).clientId).toBe('c1')
  })
})

describe('a proxy that answers the registration for its server', () => {
  it.each([504, 408])(
    '(%i) leaves a marker, so that the next sign-in says that there may be a client',
    async (code) => {
      const register = issuer.replies['/register']
      issuer.replies['/register'] = text('<h1>Gateway timeout</h1>', 'text/html', code)
      await expect(ensure()).rejects.toMatchObject({ code: 'registration_failed' })
      if (register !== undefined) issuer.replies['/register'] = register
      await ensure()
      expect(JSON.stringify(context.log)).toContain('cut off')
    },
  )
})
