import { beforeEach, describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { Connection, OAuthClient } from '../../src/model.js'
import { forgetServer } from '../../src/oauth/disconnect.js'
import { dynamicClient } from '../../src/oauth/dynamic-client.js'
import { refresh } from '../../src/oauth/refresh.js'
import { createRegistrations } from '../../src/registrations.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import { memoryStore } from '../../src/store/memory.js'
import { createRecords } from '../../src/store/records.js'
import { connectionBy, startIssuer, type Issuer } from './issuer.js'
import {
  ANN,
  ASM,
  BASE_URL,
  createOAuthContext,
  declare,
  discoveredAt,
  ensureClientAt,
  expectFailure,
  json,
  metadataOf,
  registrationsOf,
  status,
  told,
  type TestContext,
} from './support.js'

/** In seconds. */
const DAY = 24 * 3600

let issuer: Issuer
let context: TestContext

beforeEach(async () => {
  issuer = await startIssuer()
  issuer.amend = () => ({
    token_endpoint_auth_method: 'client_secret_post',
    client_secret: 'hush-s1',
    client_secret_expires_at: 0,
  })
  issuer.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer' })
  context = createOAuthContext()
})

const server = () => declare(`${issuer.url}/mcp`)

const ensure = (scope = 'read'): Promise<OAuthClient> =>
  dynamicClient(context, { server: server(), discovered: discoveredAt(issuer.url), scope, baseUrl: BASE_URL })

/** Ann is connected by the client `c1`. */
async function connect(): Promise<Connection> {
  const connection = connectionBy(issuer, 'c1')
  await ensure()
  expect(await context.records.connections.save(ANN, undefined, connection)).toBe(true)
  return connection
}

const ids = async (): Promise<unknown[]> =>
  (await registrationsOf(context)).map(({ clientId }) => clientId).sort()

describe('a client that the token endpoint refuses (SPEC 44)', () => {
  it('is forgotten, and deleted at its issuer in case that it is alive', async () => {
    const connection = await connect()
    issuer.replies['/token'] = json({ error: 'invalid_client' }, 401)
    expect(await refresh(context, server(), connection)).toMatchObject({
      status: 'needs_authorization',
      reason: 'client_invalid',
    })
    expect([await ids(), issuer.clients.size]).toEqual([[], 0])
    expect(told(context)).toEqual(['registered c1', 'registration_deleted c1', 'needs_authorization ann'])
  })

  it.each([405, 404])('is forgotten where it cannot be deleted (%i), too', async (code) => {
    const connection = await connect()
    issuer.replies['/token'] = json({ error: 'invalid_client' }, 401)
    issuer.fault.DELETE = status(code)
    await refresh(context, server(), connection)
    expect(await ids()).toEqual([])
    issuer.strays.add('c1')
    expect(JSON.stringify(context.log)).toContain('could not be deleted')
    expect(JSON.stringify(context.log)).not.toContain('hush')
  })

  it('is named in the log where the server is forgotten, and the issuer has no way to delete it', async () => {
    issuer.replies['/register'] = json({ client_id: 'left', token_endpoint_auth_method: 'none' }, 201)
    await ensure()
    await forgetServer(context, 'notes', server())
    expect(await ids()).toEqual([])
    expect(context.log).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('no way to delete it') as string,
      details: { server: 'notes', clientId: 'left' },
    })
  })

  it('is kept where its secret was renewed while the request was under way, which is made again', async () => {
    const connection = await connect()
    const [{ id = '' } = {}] = await createRegistrations(context, server).list()
    issuer.replies['/token'] = (res, request) => {
      issuer.amend = () => ({ client_secret: 'hush-s2' })
      issuer.replies['/token'] = json({ access_token: 'at2', token_type: 'Bearer' })
      void createRegistrations(context, server)
        .renew(id)
        .then(() => json({ error: 'invalid_client' }, 401)(res, request))
    }
    expect(await refresh(context, server(), connection)).toMatchObject({ accessToken: 'at2' })
    expect(issuer.requests.at(-1)?.form.get('client_secret')).toBe('hush-s2')
    expect(await ids()).toEqual(['c1'])
  })

  it('survives a 5xx that says invalid_client', async () => {
    const connection = await connect()
    issuer.replies['/token'] = json({ error: 'invalid_client' }, 503)
    await expect(refresh(context, server(), connection)).rejects.toMatchObject({ code: 'refresh_failed' })
    expect([await ids(), issuer.clients.size]).toEqual([['c1'], 1])
  })
})

describe('a client that the management endpoint does not know (RFC 7592 §2.1, SPEC 43)', () => {
  it('is kept for those who are connected by it, and managed no more; another one is registered, once', async () => {
    const connection = await connect()
    issuer.fault.GET = status(401)
    expect((await ensure('write')).clientId).toBe('c2')
    expect((await ensure('write')).clientId).toBe('c2')
    expect(issuer.sent('POST')).toHaveLength(2)
    expect(await ids()).toEqual(['c1', 'c2'])
    const managed = (await createRegistrations(context, server).list()).map((it) => [it.clientId, it.managed])
    expect(Object.fromEntries(managed)).toEqual({ c1: false, c2: true })
    expect(await refresh(context, server(), connection)).toMatchObject({ accessToken: 'at2' })
    expect(issuer.requests.at(-1)?.form.get('client_id')).toBe('c1')
    expect(told(context)).toEqual(['registered c1', 'registered c2', 'refreshed ann'])
    const registrations = createRegistrations(context, server)
    const former = (await registrations.list()).find(({ clientId }) => clientId === 'c1')
    await registrations.delete(former?.id ?? '')
    expect(await ids()).toEqual(['c2'])
    issuer.strays.add('c1')
  })

  it('is kept for those too whose connection does not open for now, its key missing', async () => {
    const store = memoryStore()
    context = createOAuthContext({ store })
    await ensure()
    const keys = loadKeys({ keys: ['another key of more than 32 characters'], keyFile: '', local: false })
    const elsewhere = createRecords(store, createSealer(keys))
    await elsewhere.connections.save(ANN, undefined, connectionBy(issuer, 'c1'))
    issuer.fault.GET = status(401)
    expect((await ensure('write')).clientId).toBe('c2')
    expect(await ids()).toEqual(['c1', 'c2'])
  })

  it.each([
    [401, 403],
    [404, 404],
    [410, 503],
  ])('is used as long as it lasts (%i) where registering again is refused (%i)', async (gone, refused) => {
    issuer.amend = () => ({
      token_endpoint_auth_method: 'client_secret_post',
      client_secret: 'hush-s1',
      client_secret_expires_at: context.clock() / 1000 + 10 * DAY,
    })
    await ensure()
    issuer.fault.GET = status(gone)
    issuer.replies['/register'] = status(refused)
    context.pass(9.5 * DAY * 1000)
    expect((await ensure()).clientId).toBe('c1')
    const [registration] = await registrationsOf(context)
    expect(registration).toMatchObject({ status: 'registered', registrationAccessToken: 'hush-1' })
    context.pass(DAY * 1000)
    await expect(ensure()).rejects.toMatchObject({ code: 'registration_failed' })
    expect(await ids()).toEqual(['c1'])
  })
})

describe('a renewal that fails', () => {
  it('loses nothing, also where the issuer says that it does not know the client', async () => {
    await ensure()
    issuer.fault.GET = status(401)
    issuer.replies['/register'] = status(503)
    issuer.replies[ASM] = json(metadataOf(issuer.url))
    const before = await registrationsOf(context)
    const registrations = createRegistrations(context, server)
    const [{ id = '' } = {}] = await registrations.list()
    await expect(registrations.renew(id)).rejects.toMatchObject({ code: 'registration_failed' })
    // A 503 may hide a client that was registered: that is remembered.
    expect(await registrationsOf(context)).toEqual(before.map((it) => ({ ...it, cutOffAt: context.clock() })))
  })
})

describe('a client that was registered but cannot be saved', () => {
  it('is deleted at its issuer', async () => {
    const store = memoryStore()
    let isFull = false
    context = createOAuthContext({
      store: {
        ...store,
        compareAndSet: async (...args) => {
          if (isFull) throw new McpDcrError('store_write_failed', 'The disk is full.')
          return store.compareAndSet(...args)
        },
      },
    })
    issuer.amend = () => {
      isFull = true
      return {}
    }
    await expect(ensure()).rejects.toMatchObject({ code: 'store_write_failed' })
    expect(issuer.asked()).toEqual(['POST /register', 'DELETE /clients/c1'])
    expect(issuer.clients.size).toBe(0)
    expect(told(context)).toEqual(['registration_deleted c1'])
    isFull = false
    issuer.amend = () => ({})
    expect((await ensure()).clientId).toBe('c2')
  })
})

describe('a client that is configured', () => {
  it('is not renewed: that is for the provider’s dashboard', async () => {
    await ensureClientAt(context, issuer.url, { oauthConfig: { clientId: 'own' } })
    const registrations = createRegistrations(context, server)
    const [{ id = '', status: state } = {}] = await registrations.list()
    expect(state).toBe('configured')
    const error = await expectFailure(registrations.renew(id), 'management_not_supported', /configured/)
    expect(error.fix).toContain('dashboard')
    expect(issuer.asked()).toEqual([])
  })
})
