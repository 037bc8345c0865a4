import { beforeEach, describe, expect, it } from 'vitest'
import type { Connection, Server } from '../../src/model.js'
import { disconnect } from '../../src/oauth/disconnect.js'
import { refresh } from '../../src/oauth/refresh.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { memoryStore } from '../../src/store/memory.js'
import { McpDcrError } from '../../src/errors.js'
import {
  ANN,
  CALLBACK,
  connectionOf,
  createOAuthContext,
  declare,
  ensureClientAt,
  expectFailure,
  gate,
  HANG_UP,
  json,
  redirectTo,
  registrationsOf,
  SILENCE,
  startFake,
  status,
  text,
  told,
  TOO_LARGE,
  type FakeServer,
  type Reply,
  type TestContext,
} from './support.js'

let as: FakeServer
let context: TestContext
let server: Server
let stale: Connection

beforeEach(async () => {
  as = await startFake({ '/token': json({ access_token: 'at2', token_type: 'Bearer' }) })
  context = createOAuthContext()
  server = declare(`${as.url}/mcp`, { clientId: 'c1', clientSecret: 'hush-client' })
  stale = {
    user: 'ann',
    server: 'notes',
    serverUrl: server.url,
    status: 'connected',
    resource: server.url,
    clientSource: 'static',
    clientId: 'c1',
    redirectUri: CALLBACK,
    authorizationServer: {
      issuer: as.url,
      authorization_endpoint: `${as.url}/authorize`,
      token_endpoint: `${as.url}/token`,
    },
    accessToken: 'hush-at1',
    refreshToken: 'hush-rt1',
    expiresAt: context.clock() - 1,
    scope: 'read write',
    requestedScope: 'read write admin',
    obtainedBy: 'authorization',
    obtainedAt: 1,
    connectedAt: 1,
  }
  await save(stale)
})

async function save(connection: Connection): Promise<void> {
  const { connections } = context.records
  expect(await connections.save(ANN, await connections.get(ANN), connection)).toBe(true)
}

const run = (): Promise<Connection | undefined> => refresh(context, server, stale)

/** A store that cannot be written while `isFull`. */
function fillableDisk(): { store: CredentialStore; isFull: boolean } {
  const memory = memoryStore()
  const compareAndSet: CredentialStore['compareAndSet'] = async (...args) => {
    if (disk.isFull) throw new McpDcrError('store_write_failed', 'The disk is full.')
    return memory.compareAndSet(...args)
  }
  const disk = { isFull: false, store: { ...memory, compareAndSet } }
  return disk
}

/** Changes the connection while the refresh is on its way, then lets it be answered. */
function meanwhile(change: () => Promise<unknown>, reply: Reply): void {
  as.replies['/token'] = (res, request) => void change().then(() => reply(res, request))
}

describe('a refresh that succeeds (RFC 6749 §6, SPEC 36, 37)', () => {
  it.each<[string, object, Partial<Connection>]>([
    ['a new refresh token replaces the old', { refresh_token: 'rt2' }, { refreshToken: 'rt2' }],
    ['none returned keeps the old', {}, {}],
    ['an empty one keeps the old', { refresh_token: '' }, {}],
    ['null keeps the old', { refresh_token: null }, {}],
    ['a narrower scope is noted', { scope: 'read' }, { scope: 'read' }],
    ['a new lifetime counts from now', { expires_in: 60 }, { expiresAt: Date.UTC(2030, 0, 1, 0, 1) }],
  ])('%s', async (_name, answer, changes) => {
    as.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer', ...answer })
    const { expiresAt: _, ...kept } = stale
    const obtained = { obtainedBy: 'refresh', obtainedAt: context.clock() }
    expect(await run()).toEqual({ ...kept, ...obtained, accessToken: 'at2', ...changes })
    expect(await connectionOf(context)).toEqual({ ...kept, ...obtained, accessToken: 'at2', ...changes })
  })

  it('asks for no scope, once, and sends the resource', async () => {
    await run()
    expect(as.requests.map(({ form }) => Object.fromEntries(form))).toEqual([
      { grant_type: 'refresh_token', refresh_token: 'hush-rt1', resource: server.url },
    ])
  })

  it('is one for 50 at the same time, and none for those who come late', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, run))
    expect(new Set(all.map((it) => it?.accessToken))).toEqual(new Set(['at2']))
    expect(await run()).toMatchObject({ accessToken: 'at2' })
    expect(as.asked()).toEqual(['POST /token'])
    expect(told(context)).toEqual(['refreshed ann'])
  })

  it('is used as it was saved: a sign-in meanwhile wins', async () => {
    meanwhile(
      () => save({ ...stale, accessToken: 'at-of-sign-in' }),
      json({ access_token: 'at2', token_type: 'Bearer' }),
    )
    expect(await run()).toMatchObject({ accessToken: 'at-of-sign-in' })
    expect(await connectionOf(context)).toMatchObject({ accessToken: 'at-of-sign-in' })
    expect(told(context)).toEqual([])
  })

  it('does not bring back a connection that was ended meanwhile', async () => {
    meanwhile(
      () => context.records.connections.delete(ANN),
      json({ access_token: 'at2', token_type: 'Bearer' }),
    )
    expect(await run()).toBeUndefined()
    expect(await connectionOf(context)).toBeUndefined()
  })

  it('fails where it cannot be saved; the tokens are kept, and saved by the next: the old one is not used twice', async () => {
    const disk = fillableDisk()
    context = createOAuthContext(disk)
    await save(stale)
    const saved = async (): Promise<unknown> =>
      (await disk.store.get('oauth_tokens', ANN))?.data['obtainedBy']
    disk.isFull = true
    as.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer', refresh_token: 'rt2' })
    await expect(run()).rejects.toMatchObject({ code: 'store_write_failed' })
    expect(await run()).toMatchObject({ accessToken: 'at2', refreshToken: 'rt2' })
    expect([await saved(), told(context)]).toEqual(['authorization', []])
    disk.isFull = false
    await Promise.all([run(), run()])
    expect(await run()).toMatchObject({ accessToken: 'at2', refreshToken: 'rt2' })
    expect([await saved(), told(context)]).toEqual(['refresh', ['refreshed ann']])
    expect(as.asked()).toEqual(['POST /token'])
  })

  it('that could not be saved is what disconnecting revokes', async () => {
    const disk = fillableDisk()
    context = createOAuthContext(disk)
    stale = {
      ...stale,
      authorizationServer: { ...stale.authorizationServer, revocation_endpoint: `${as.url}/revoke` },
    }
    await save(stale)
    disk.isFull = true
    as.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer', refresh_token: 'rt2' })
    as.replies['/revoke'] = status(200)
    await expect(run()).rejects.toMatchObject({ code: 'store_write_failed' })
    disk.isFull = false
    expect(await disconnect(context, server, 'ann')).toBe(true)
    const revoked = as.requests.filter(({ path }) => path === '/revoke')
    expect(revoked.map(({ form }) => form.get('token'))).toEqual(['rt2', 'at2'])
  })

  it('or a sign-in that comes while the connection is being ended stays, and no end of it is told', async () => {
    stale = {
      ...stale,
      authorizationServer: { ...stale.authorizationServer, revocation_endpoint: `${as.url}/revoke` },
    }
    await save(stale)
    as.replies['/revoke'] = (res, request) =>
      void save({ ...stale, accessToken: 'at-of-sign-in' })
        .catch(() => undefined)
        .then(() => status(200)(res, request))
    await disconnect(context, server, 'ann')
    expect(await connectionOf(context)).toMatchObject({ accessToken: 'at-of-sign-in' })
    expect(told(context)).toEqual([])
  })

  it('that could not be saved gives way to a sign-in since then', async () => {
    const disk = fillableDisk()
    context = createOAuthContext(disk)
    await save(stale)
    disk.isFull = true
    await expect(run()).rejects.toMatchObject({ code: 'store_write_failed' })
    disk.isFull = false
    const newer = { ...stale, accessToken: 'of the sign-in', refreshToken: 'rt9' }
    await save(newer)
    expect(await run()).toEqual(newer)
    stale = newer
    expect(await run()).toMatchObject({ accessToken: 'at2', refreshToken: 'rt9' })
  })

  it('is asked for once where the server gives the same token again', async () => {
    as.replies['/token'] = json({ access_token: 'hush-at1', token_type: 'Bearer', expires_in: 60 })
    const [first] = await Promise.all([run(), run()])
    expect(first?.accessToken).toBe('hush-at1')
    expect(await run()).toEqual(first)
    expect(as.asked()).toEqual(['POST /token'])
  })

  it.each([
    ['there is none any more', async () => void (await context.records.connections.delete(ANN)), undefined],
    ['it was refreshed already', () => save({ ...stale, accessToken: 'at9' }), { accessToken: 'at9' }],
  ])('is not tried where %s', async (_name, change, expected) => {
    await change()
    const held = await run()
    if (expected === undefined) expect(held).toBeUndefined()
    else expect(held).toMatchObject(expected)
    expect(as.asked()).toEqual([])
  })

  it('is not tried without a refresh token: only a sign-in helps', async () => {
    const { refreshToken: _, ...without } = stale
    await save(without)
    expect(await run()).toMatchObject({ status: 'needs_authorization', reason: 'token_expired' })
    expect(as.asked()).toEqual([])
  })
})

/** What is left when only a sign-in helps: no token, but what had been asked for. */
function ended(reason: string): object {
  const { accessToken: _a, refreshToken: _r, expiresAt: _e, ...kept } = stale
  return { ...kept, status: 'needs_authorization', reason }
}

describe('a refresh that is refused for good (RFC 6749 §5.2, SPEC 38)', () => {
  it.each<[string, Reply, string]>([
    ['invalid_grant', json({ error: 'invalid_grant', error_description: 'hush' }, 400), 'refresh_refused'],
    ['invalid_grant with a 200 (GitHub’s habit)', json({ error: 'invalid_grant' }), 'refresh_refused'],
    ['bad_refresh_token with a 200 (GitHub)', json({ error: 'bad_refresh_token' }), 'refresh_refused'],
    ['invalid_grant with a 401', json({ error: 'invalid_grant' }, 401), 'refresh_refused'],
    ['unauthorized_client', json({ error: 'unauthorized_client' }, 400), 'refresh_refused'],
    ['unsupported_grant_type', json({ error: 'unsupported_grant_type' }, 400), 'refresh_refused'],
    ['invalid_scope', json({ error: 'invalid_scope' }, 400), 'refresh_refused'],
  ])('%s: the tokens go, the record says why', async (_name, reply, reason) => {
    as.replies['/token'] = reply
    expect(await run()).toEqual(ended(reason))
    expect(await connectionOf(context)).toEqual(ended(reason))
    expect(await run()).toEqual(ended(reason))
    expect(as.asked()).toEqual(['POST /token'])
    expect(context.log).toMatchObject([{ level: 'warn', details: { server: 'notes' } }])
    expect(JSON.stringify(context.log)).not.toContain('hush')
  })

  it.each([
    [
      'changed',
      () => save({ ...stale, accessToken: 'newer', refreshToken: 'newer-rt' }),
      { accessToken: 'newer', refreshToken: 'newer-rt', status: 'connected' },
    ],
    ['ended', async () => void (await context.records.connections.delete(ANN)), undefined],
  ])('leaves a connection alone that was %s meanwhile (FIELD-NOTES 7)', async (_name, change, expected) => {
    meanwhile(change, json({ error: 'invalid_grant' }, 400))
    const held = await run()
    for (const connection of [held, await connectionOf(context)]) {
      if (expected === undefined) expect(connection).toBeUndefined()
      else expect(connection).toMatchObject(expected)
    }
  })

  it('is one for 20 at the same time', async () => {
    as.replies['/token'] = json({ error: 'invalid_grant' }, 400)
    const all = await Promise.all(Array.from({ length: 20 }, run))
    expect(new Set(all.map((it) => it?.status))).toEqual(new Set(['needs_authorization']))
    expect(as.asked()).toHaveLength(1)
  })

  it('with invalid_client forgets the registration, unless another took its place', async () => {
    for (const clientId of ['c1', 'c2']) {
      as.replies['/register'] = json({ client_id: clientId, token_endpoint_auth_method: 'none' }, 201)
      await ensureClientAt(context, as.url, { scope: clientId })
    }
    server = declare(server.url)
    await save({ ...stale, clientSource: 'dynamic' })
    as.replies['/token'] = json({ error: 'invalid_client' }, 401)
    expect(await run()).toMatchObject({ reason: 'client_invalid' })
    expect((await registrationsOf(context)).map(({ clientId }) => clientId)).toEqual(['c2'])
  })

  it('needs no request where the client is gone', async () => {
    await save({ ...stale, clientSource: 'dynamic' })
    expect(await run()).toEqual({ ...ended('client_invalid'), clientSource: 'dynamic' })
    expect(as.asked()).toEqual([])
  })
})

describe('a configured client that is wrong deletes nothing: it may be a slip of the pen', () => {
  it.each<[string, Reply]>([
    ['invalid_client', json({ error: 'invalid_client' }, 401)],
    [
      'invalid_client in a challenge',
      status(401, { 'www-authenticate': 'Basic realm="x", error="invalid_client"' }),
    ],
  ])('%s', async (_name, reply) => {
    as.replies['/token'] = reply
    await expectFailure(run(), 'client_invalid', 'configured client')
    expect(await connectionOf(context)).toEqual(stale)
  })

  it('one that differs needs a sign-in, until it is corrected', async () => {
    const right = server
    server = declare(server.url, { clientId: 'c2' })
    expect(await run()).toMatchObject({ status: 'needs_authorization', reason: 'client_invalid' })
    expect([as.asked(), await connectionOf(context)]).toEqual([[], stale])
    server = right
    expect(await run()).toMatchObject({ status: 'connected', accessToken: 'at2' })
  })
})

describe('a refresh that fails for now deletes nothing (SPEC 38)', () => {
  it.each<[string, Reply]>([
    ['a 500', status(500)],
    ['a 503 in HTML', text('<p>hush</p>', 'text/html', 503)],
    ['a 503 that says invalid_grant', json({ error: 'invalid_grant' }, 503)],
    ['a 500 that says invalid_client', status(500, { 'www-authenticate': 'Basic error="invalid_client"' })],
    ['a 429', status(429, { 'retry-after': '5' })],
    ['a 429 that says invalid_grant', json({ error: 'invalid_grant' }, 429)],
    ['a 408', json({ error: 'invalid_client' }, 408)],
    ['a 400 in plain text', text('hush', 'text/plain', 400)],
    ['a 403 in HTML', text('<p>hush</p>', 'text/html', 403)],
    ['temporarily_unavailable', json({ error: 'temporarily_unavailable' }, 400)],
    ['another case', json({ error: 'Invalid_Grant' }, 400)],
    ['a success without a token', json({ refresh_token: 'hush-rt2' })],
    ['a token that no header carries', json({ access_token: 'hush\r\nx: 1', token_type: 'Bearer' })],
    ['broken JSON', text('{"access_token":"hush', 'application/json')],
    ['an empty answer', status(200)],
    ['a redirect', redirectTo('https://evil.example/?x=hush')],
    ['more than 1 MiB', TOO_LARGE],
    ['a connection that breaks off', HANG_UP],
  ])('%s', async (_name, reply) => {
    as.replies['/token'] = reply
    const error = await expectFailure(run(), 'refresh_failed', /could not refresh/, ['hush'])
    expect(error.fix).toContain('kept')
    expect(await connectionOf(context)).toEqual(stale)
    as.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer' })
    expect(await run()).toMatchObject({ accessToken: 'at2' })
  })

  it('silence, at the timeout', async () => {
    context = { ...createOAuthContext({ timeout: 50 }), records: context.records }
    as.replies['/token'] = SILENCE
    await expectFailure(run(), 'refresh_failed')
    expect(await connectionOf(context)).toEqual(stale)
  })

  it('says what the answer was', async () => {
    as.replies['/token'] = json({ error: 'invalid_target' }, 400)
    await expectFailure(run(), 'refresh_failed', '(status 400, invalid_target)')
    as.replies['/token'] = status(503)
    await expectFailure(run(), 'refresh_failed', '(status 503)')
  })

  it('an authorization server that is gone', async () => {
    await as.close()
    await expectFailure(run(), 'refresh_failed')
    expect(await connectionOf(context)).toEqual(stale)
  })

  it('a registration that is not known any more is kept through a 503', async () => {
    as.replies['/register'] = json({ client_id: 'c1', token_endpoint_auth_method: 'none' }, 201)
    await ensureClientAt(context, as.url)
    server = declare(server.url)
    await save({ ...stale, clientSource: 'dynamic' })
    as.replies['/token'] = json({ error: 'invalid_client' }, 503)
    await expectFailure(run(), 'refresh_failed')
    expect(await registrationsOf(context)).toHaveLength(1)
  })
})

describe('the lease', () => {
  it('is taken before the request; who waits shares the failure, who comes later tries again', async () => {
    const [arrived, answer] = [gate(), gate()]
    as.replies['/token'] = (res, request) => {
      as.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer' })
      arrived.open()
      void answer.opened.then(() => status(503)(res, request))
    }
    const waiting = [run()]
    await arrived.opened
    waiting.push(run(), run())
    answer.open()
    await Promise.all(waiting.map((promise) => expectFailure(promise, 'refresh_failed')))
    expect(as.asked()).toHaveLength(1)
    expect(await run()).toMatchObject({ accessToken: 'at2' })
  })
})
