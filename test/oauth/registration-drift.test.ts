import { beforeEach, describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { OAuthClient } from '../../src/model.js'
import { dynamicClient } from '../../src/oauth/dynamic-client.js'
import type { OAuthConfig } from '../../src/options.js'
import { createRegistrations, type Registrations } from '../../src/registrations.js'
import { memoryStore } from '../../src/store/memory.js'
import { startIssuer, type Issuer } from './issuer.js'
import {
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  discoveredAt,
  ensureClientAt,
  HANG_UP,
  json,
  registrationsOf,
  status,
  text,
  type Reply,
  type TestContext,
} from './support.js'

const OTHER_BASE = 'https://gateway.example'

let issuer: Issuer
let context: TestContext

beforeEach(async () => {
  issuer = await startIssuer()
  context = createOAuthContext()
})

const ensure = (oauthConfig: OAuthConfig = {}, baseUrl = BASE_URL, scope = 'read'): Promise<OAuthClient> =>
  dynamicClient(context, {
    server: declare(`${issuer.url}/mcp`, oauthConfig),
    discovered: discoveredAt(issuer.url),
    scope,
    baseUrl,
  })

const management = (): Registrations => createRegistrations(context, () => declare(`${issuer.url}/mcp`))

async function onlyId(): Promise<string> {
  const [registration, ...more] = await management().list()
  expect(more).toEqual([])
  return registration?.id ?? ''
}

describe('a configuration that has changed', () => {
  it('takes a member out again that it does not set any more', async () => {
    await ensure({ clientMetadata: { logo_uri: 'https://logo.example', contacts: ['a@b.example'] } })
    expect(await ensure({ clientMetadata: { contacts: ['a@b.example'] } })).toMatchObject({ clientId: 'c1' })
    expect(issuer.sent('PUT')).toHaveLength(1)
    expect(issuer.sent('PUT')[0]).not.toHaveProperty('logo_uri')
    expect(issuer.sent('PUT')[0]).toMatchObject({ contacts: ['a@b.example'] })
    await ensure({ clientMetadata: { contacts: ['a@b.example'] } })
    expect(issuer.sent('PUT')).toHaveLength(1)
  })

  it('asks for the configured authentication method, and has what the server makes of it', async () => {
    await ensure()
    issuer.amend = () => ({ client_secret: 'hush-s1', client_secret_expires_at: 0 })
    const configured: OAuthConfig = { tokenEndpointAuthMethod: 'client_secret_post' }
    expect(await ensure(configured)).toMatchObject({
      clientId: 'c1',
      tokenEndpointAuthMethod: 'client_secret_post',
      clientSecret: 'hush-s1',
    })
    await ensure(configured)
    expect(issuer.sent('PUT').map((body) => body['token_endpoint_auth_method'])).toEqual([
      'client_secret_post',
    ])
  })

  it('leaves the authentication method to the server where none is configured', async () => {
    issuer.amend = () => ({ token_endpoint_auth_method: 'client_secret_basic', client_secret: 'hush-s1' })
    await ensure()
    expect(await ensure()).toMatchObject({ tokenEndpointAuthMethod: 'client_secret_basic' })
    expect(issuer.asked()).toEqual(['POST /register'])
  })

  it('sends a new software statement, keeps none, and sends none otherwise', async () => {
    await ensure({ softwareStatement: 'hush.statement.1' })
    expect(JSON.stringify(await registrationsOf(context))).not.toContain('hush.statement')
    await ensure({ softwareStatement: 'hush.statement.1' })
    await ensure({ softwareStatement: 'hush.statement.1' }, BASE_URL, 'write')
    expect(issuer.sent('PUT')[0]).not.toHaveProperty('software_statement')
    await ensure({ softwareStatement: 'hush.statement.2' }, BASE_URL, 'write')
    await ensure({ softwareStatement: 'hush.statement.2' }, BASE_URL, 'write')
    expect(issuer.sent('PUT').map((body) => body['software_statement'])).toEqual([
      undefined,
      'hush.statement.2',
    ])
    expect(issuer.clients.size).toBe(1)
  })
})

describe('a member that the server refuses by its name (SPEC 19)', () => {
  const logo = (logo_uri: string): OAuthConfig => ({
    clientMetadata: { logo_uri, contacts: ['a@b.example'] },
  })

  beforeEach(() => {
    issuer.amend = ({ logo_uri: uri }) =>
      uri === 'https://bad.example' ? { error: 'Unrecognized field "logo_uri"' } : {}
  })

  it('is left out once, and stays out when the client is replaced', async () => {
    const { clientId } = await ensure(logo('https://bad.example'))
    expect(issuer.sent('POST').map((body) => 'logo_uri' in body)).toEqual([true, false])
    expect(issuer.sent('POST')[1]).toMatchObject({ contacts: ['a@b.example'], scope: 'read' })
    await ensure(logo('https://bad.example'), BASE_URL, 'write')
    expect(issuer.sent('PUT').map((body) => 'logo_uri' in body)).toEqual([false])
    expect([...issuer.clients.keys()]).toEqual([clientId])
  })

  it('is sent when the configuration gives it another value, and from then on', async () => {
    await ensure(logo('https://bad.example'))
    await ensure(logo('https://good.example'))
    await ensure(logo('https://good.example'), BASE_URL, 'write')
    expect(issuer.sent('PUT').map((body) => body['logo_uri'])).toEqual(Array(2).fill('https://good.example'))
  })

  it('is no drift', async () => {
    await ensure(logo('https://bad.example'))
    expect((await management().read(await onlyId())).drift).toEqual([])
  })
})

describe('the drift that is reported', () => {
  it('is none where the server says what it made of the request at first, or says nothing as it did', async () => {
    issuer.amend = () => ({
      client_name: 'Renamed by a policy',
      token_endpoint_auth_method: 'client_secret_basic',
      client_secret: 'hush-s1',
      application_type: undefined,
      scope: 'read openid',
    })
    await ensure()
    expect((await management().read(await onlyId())).drift).toEqual([])
    issuer.amend = () => ({ client_name: 'Renamed by hand', scope: 'read openid' })
    expect((await management().read(await onlyId())).drift).toEqual([
      { member: 'client_name', held: 'Renamed by a policy', remote: 'Renamed by hand' },
    ])
  })

  it('shows no software statement that the server returns', async () => {
    issuer.amend = () => ({ software_statement: 'hush.statement' })
    await ensure({ softwareStatement: 'hush.statement' })
    const report = await management().read(await onlyId())
    expect(JSON.stringify(report)).not.toContain('hush')
    expect(report.drift).toEqual([])
  })

  it('is read from an answer that nests without end as from any other', async () => {
    await ensure()
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    issuer.fault.GET = (res) =>
      res.writeHead(200, { 'content-type': 'application/json' }).end(`{"client_id":"c1","jwks":${deep}}`)
    const { remote } = await management().read(await onlyId())
    expect(remote).toEqual({ client_id: 'c1' })
  })
})

describe('a redirect URI that has changed', () => {
  it('moves the registration, and moves none back: two gateways on one store have a client each', async () => {
    await ensure({}, BASE_URL)
    await ensure({}, OTHER_BASE)
    expect(await registrationsOf(context)).toMatchObject([
      { clientId: 'c1', redirectUri: `${OTHER_BASE}/api/oauth/callback` },
    ])
    for (let turn = 0; turn < 3; turn++) {
      expect((await ensure({}, BASE_URL)).clientId).toBe('c2')
      expect((await ensure({}, OTHER_BASE)).clientId).toBe('c1')
    }
    expect(issuer.sent('PUT')).toHaveLength(1)
  })

  it('is registered for where the former client cannot be reached for now: that one would fail in the browser', async () => {
    await ensure({}, BASE_URL)
    issuer.fault.GET = status(503)
    expect((await ensure({}, OTHER_BASE)).clientId).toBe('c2')
    expect((await ensure({}, BASE_URL)).clientId).toBe('c1')
    expect(issuer.clients.get('c1')).toMatchObject({ redirect_uris: [CALLBACK] })
  })

  it('does not move the registration of another MCP server', async () => {
    await ensure({}, BASE_URL)
    const elsewhere = {
      server: declare(`${issuer.url}/another`),
      discovered: discoveredAt(issuer.url),
      scope: 'read',
      baseUrl: OTHER_BASE,
    }
    expect((await dynamicClient(context, elsewhere)).clientId).toBe('c2')
    expect(issuer.sent('PUT')).toEqual([])
  })
})

describe('what the issuer rotates (SPEC 43)', () => {
  /** A store whose writes fail, or lose, where `act` says so. */
  function interfering(): void {
    const store = memoryStore()
    context = createOAuthContext({
      store: {
        ...store,
        compareAndSet: async (...args) => {
          await act(args)
          return store.compareAndSet(...args)
        },
      },
    })
  }
  let act: (args: unknown[]) => void | Promise<void>

  beforeEach(() => {
    act = () => undefined
    interfering()
  })

  it('is kept in memory where it cannot be saved, and saved later', async () => {
    await ensure()
    const id = await onlyId()
    act = () => {
      throw new McpDcrError('store_write_failed', 'The disk is full.')
    }
    await expect(management().read(id)).rejects.toMatchObject({ code: 'store_write_failed' })
    await expect(management().read(id)).rejects.toMatchObject({ code: 'store_write_failed' })
    act = () => undefined
    await management().update(id, { contacts: ['a@b.example'] })
    expect(issuer.clients.get('c1')).toMatchObject({ contacts: ['a@b.example'] })
    const [{ registrationAccessToken } = {}] = await registrationsOf(context)
    expect(registrationAccessToken).toBe(issuer.clients.get('c1')?.['registration_access_token'])
  })

  it('is saved beside what somebody else changed meanwhile', async () => {
    await ensure()
    const id = await onlyId()
    const { registrations } = context.records
    issuer.fault.GET = (res, request) => {
      delete issuer.fault.GET
      void (async () => {
        for await (const held of registrations.list())
          await registrations.save(held.key, held, { ...held.value, scope: 'read more' })
        issuer.replies['/clients/c1']?.(res, request)
      })()
    }
    await management().read(id)
    expect(await registrationsOf(context)).toMatchObject([
      {
        scope: 'read more',
        registrationAccessToken: issuer.clients.get('c1')?.['registration_access_token'],
      },
    ])
  })

  it('is not saved to another client that has taken its place meanwhile', async () => {
    await ensure()
    const id = await onlyId()
    const { registrations } = context.records
    issuer.fault.GET = (res, request) => {
      delete issuer.fault.GET
      void (async () => {
        for await (const held of registrations.list())
          await registrations.save(held.key, held, {
            ...held.value,
            clientId: 'c9',
            registrationAccessToken: 'hush-9',
          })
        issuer.replies['/clients/c1']?.(res, request)
      })()
    }
    await expect(management().read(id)).rejects.toMatchObject({ code: 'store_write_failed' })
    expect(await registrationsOf(context)).toMatchObject([
      { clientId: 'c9', registrationAccessToken: 'hush-9' },
    ])
    issuer.strays.add('c1').add('c9')
  })
})

it('two releases with other metadata on one store, at an issuer without PUT, have a client each, not one per sign-in', async () => {
  const store = memoryStore()
  const releases = ['A', 'B'].map((clientName) => createOAuthContext({ clientName, store }))
  issuer.fault.PUT = status(405)
  const used: string[] = []
  for (let n = 0; n < 3; n++) {
    for (const release of releases) {
      release.pass(1000)
      used.push((await ensureClientAt(release, issuer.url, { scope: 'read' })).clientId)
    }
  }
  expect(used).toEqual(['c1', 'c2', 'c1', 'c2', 'c1', 'c2'])
})

describe('an issuer that does not do as it should', () => {
  it.each<[string, Reply]>([
    ['501', status(501)],
    ['a redirect', status(307, { location: 'https://elsewhere.example' })],
  ])('that answers a PUT with %s has no management: another client is registered', async (_name, reply) => {
    await ensure()
    issuer.fault.PUT = reply
    expect((await ensure({}, BASE_URL, 'write')).clientId).toBe('c2')
  })

  it.each<[string, Reply]>([
    ['405', status(405)],
    ['501', status(501)],
    ['403', status(403)],
  ])('that refuses GET by %s is sent a PUT all the same', async (_name, reply) => {
    await ensure()
    issuer.fault.GET = reply
    expect((await ensure({}, BASE_URL, 'write')).clientId).toBe('c1')
  })

  it.each<[string, Reply]>([
    ['a page', text('<h1>Sign in</h1>', 'text/html')],
    ['nothing', status(200)],
    ['a list', json([])],
    ['an object without client_id', json({ ok: true })],
  ])('that answers by 200 and %s has done nothing', async (_name, reply) => {
    await ensure()
    const id = await onlyId()
    issuer.fault.PUT = reply
    await expect(management().update(id, { contacts: [] })).rejects.toMatchObject({
      code: 'management_failed',
    })
    issuer.fault.GET = reply
    await expect(management().read(id)).rejects.toMatchObject({ code: 'management_failed' })
  })

  it('that answers a GET about another client is sent no PUT', async () => {
    await ensure()
    issuer.fault.GET = json({ client_id: 'c9' })
    await expect(management().update(await onlyId(), { contacts: [] })).rejects.toMatchObject({
      code: 'management_failed',
    })
    expect(issuer.sent('PUT')).toEqual([])
  })

  it.each<[string, Reply]>([
    ['503', status(503)],
    ['nothing', HANG_UP],
  ])(
    'that answers %s when a secret has expired already: another client is registered',
    async (_name, reply) => {
      issuer.amend = () => ({
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: 'hush-s1',
        client_secret_expires_at: context.clock() / 1000 + 60,
      })
      await ensure()
      context.pass(60_000)
      issuer.fault.GET = reply
      expect((await ensure()).clientId).toBe('c2')
    },
  )
})
