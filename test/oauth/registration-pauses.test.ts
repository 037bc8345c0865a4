import { describe, expect, it, vi } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { registerAgain } from '../../src/oauth/register-again.js'
import { createRegistrations } from '../../src/registrations.js'
import { startIssuer } from './issuer.js'
import {
  ASM,
  createOAuthContext,
  declare,
  ensureClientAt,
  expectFailure,
  json,
  metadataOf,
  PRM,
  redirectTo,
  startRegistry,
  status,
  text,
  type EnsureOptions,
  type Registry,
  type Reply,
} from './support.js'

const REFUSED = json({ error: 'invalid_redirect_uri', error_description: 'loopback only' }, 400)
const CLIENT = json({ client_id: 'c1', token_endpoint_auth_method: 'none' }, 201)

/** How many registration requests it makes to be asked for a client. */
async function requestsOf(registry: Registry, options: EnsureOptions = {}): Promise<number> {
  const before = registry.count('POST', '/register')
  await registry.ensure(options).catch((error: unknown) => {
    if (!(error instanceof McpDcrError)) throw error
  })
  return registry.count('POST', '/register') - before
}

/** Has an issuer fail twice, from when on it is let alone. */
async function failTwice(reply: Reply, options?: EnsureOptions): Promise<Registry> {
  const registry = await startRegistry(reply)
  for (let n = 0; n < 2; n++) expect(await requestsOf(registry, options)).toBe(1)
  expect(await requestsOf(registry, options)).toBe(0)
  return registry
}

describe('after a registration that fails', () => {
  it.each<[string, Reply]>([
    ['a 400', REFUSED],
    ['a 401', status(401)],
    ['a 403 in plain text', text('Forbidden', 'text/plain', 403)],
    ['a 404', status(404)],
    ['a 429', status(429)],
    ['a redirect', redirectTo('https://elsewhere.example/')],
    ['a 200 that is an error', json({ error: 'invalid_redirect_uri' }, 200)],
    ['a 500', status(500)],
  ])(
    'by %s the next one is made at once, the third a second later, then twice as long each',
    async (_by, reply) => {
      const registry = await failTwice(reply)
      for (const seconds of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]) {
        registry.context.pass(seconds * 1000 - 1)
        expect(await requestsOf(registry)).toBe(0)
        registry.context.pass(1)
        expect(await requestsOf(registry)).toBe(1)
      }
    },
  )

  it('a visitor is told what it was refused for, what to do, and when it is tried again', async () => {
    const registry = await startRegistry(REFUSED)
    await requestsOf(registry)
    const refused = await expectFailure(registry.ensure(), 'invalid_redirect_uri', 'loopback only')
    registry.context.pass(400)
    const paused = await expectFailure(registry.ensure(), 'invalid_redirect_uri', 'loopback only')
    expect(paused.message).toBe(`${refused.message} It is tried again in 1 seconds.`)
    expect(paused.fix).toBe(refused.fix)
    expect(paused.status).toBe(refused.status)
  })

  it('one that the store alone has failed does not count', async () => {
    let reply = CLIENT
    const registry = await startRegistry((...given) => reply(...given))
    const { registrations } = registry.context.records
    const save = registrations.save.bind(registrations)
    const failing = new McpDcrError('store_unavailable', 'The store is gone.')
    vi.spyOn(registrations, 'save').mockImplementation((key, held, value) =>
      value.status === 'registering' ? save(key, held, value) : Promise.reject(failing),
    )
    expect(await requestsOf(registry)).toBe(1)
    reply = status(500)
    for (const requests of [1, 1, 0]) expect(await requestsOf(registry)).toBe(requests)
  })

  it.each([429, 503])('with a Retry-After beside %i, none is made before that', async (code) => {
    for (const [header, seconds] of [
      ['60', 60],
      ['Tue, 01 Jan 2030 00:01:30 GMT', 90],
      ['86400', 600],
      ['Wed, 01 Jan 2031 00:00:00 GMT', 600],
    ] as const) {
      const registry = await startRegistry(status(code, { 'retry-after': header }))
      expect(await requestsOf(registry)).toBe(1)
      const paused = await expectFailure(registry.ensure(), 'registration_failed', `in ${seconds} seconds`)
      expect(paused.fix).toContain(`Try again in ${seconds} seconds.`)
      registry.context.pass(seconds * 1000 - 1)
      expect(await requestsOf(registry)).toBe(0)
      registry.context.pass(1)
      expect(await requestsOf(registry)).toBe(1)
    }
  })

  it.each(['0', '-5', 'soon', '1.5', '', 'Tue, 01 Jan 2019 00:00:00 GMT', 'Tue, 01 Jan 2030 00:01:30'])(
    'a Retry-After of "%s" asks for nothing',
    async (header) => {
      await failTwice(status(429, { 'retry-after': header }))
    },
  )

  it('a Retry-After beside another refusal counts for nothing', async () => {
    await failTwice(json({ error: 'invalid_redirect_uri' }, 400, { 'retry-after': '60' }))
  })

  it('what the gateway leaves out to try once more is part of the same try', async () => {
    const registry = await startRegistry(json({ error: 'invalid_client_metadata' }, 400))
    for (const requests of [2, 2, 0]) expect(await requestsOf(registry, { scope: 'read' })).toBe(requests)
    registry.context.pass(1000)
    expect(await requestsOf(registry, { scope: 'read' })).toBe(2)
  })

  it.each<[string, EnsureOptions]>([
    ['other scopes', { scope: 'write' }],
    ['an initial access token', { oauthConfig: { initialAccessToken: 'iat1' } }],
    ['other client metadata', { oauthConfig: { clientMetadata: { logo_uri: 'https://logo.example' } } }],
    ['another redirect URI', { baseUrl: 'https://gateway.example' }],
  ])('one with %s is made at once', async (_what, changed) => {
    const registry = await failTwice(REFUSED, { scope: 'read' })
    expect(await requestsOf(registry, { scope: 'read', ...changed })).toBe(1)
    expect(await requestsOf(registry, { scope: 'read' })).toBe(0)
  })

  it('a function that gives another initial access token each time changes nothing', async () => {
    let given = 0
    const initialAccessToken = (): string => `iat${++given}`
    const registry = await failTwice(REFUSED, { oauthConfig: { initialAccessToken } })
    expect(await requestsOf(registry, { oauthConfig: { initialAccessToken } })).toBe(0)
    expect(given).toBe(2)
  })

  it('different ones are tried eight times, and then with a pause as well', async () => {
    const registry = await startRegistry(REFUSED)
    const made: number[] = []
    for (let n = 0; n < 12; n++) made.push(await requestsOf(registry, { scope: `scope${n}` }))
    expect(made).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    registry.context.pass(1000)
    expect(await requestsOf(registry, { scope: 'scope12' })).toBe(1)
    registry.context.pass(1999)
    expect(await requestsOf(registry, { scope: 'scope13' })).toBe(0)
  })

  it('a 429 is about every one of them', async () => {
    const registry = await failTwice(status(429))
    expect(await requestsOf(registry, { scope: 'write' })).toBe(0)
  })

  it('one that works makes it as if none had failed', async () => {
    const registry = await failTwice(REFUSED)
    registry.context.pass(1000)
    registry.replies['/register'] = CLIENT
    expect(await requestsOf(registry)).toBe(1)
    registry.replies['/register'] = REFUSED
    for await (const { key } of registry.context.records.registrations.list())
      await registry.context.records.registrations.delete(key)
    for (const requests of [1, 1, 0]) expect(await requestsOf(registry)).toBe(requests)
  })

  it('after an hour without another one it is as if there had been none', async () => {
    const hour = 60 * 60_000
    const registry = await failTwice(REFUSED)
    registry.context.pass(1000 + hour - 1)
    for (const requests of [1, 0]) expect(await requestsOf(registry)).toBe(requests)
    registry.context.pass(2000 + hour)
    for (const requests of [1, 1, 0]) expect(await requestsOf(registry)).toBe(requests)
  })

  it('the client that is held is used, and the issuer is not asked to change it either', async () => {
    const issuer = await startIssuer()
    const context = createOAuthContext()
    const ensure = (contacts: string[]) =>
      ensureClientAt(context, issuer.url, { oauthConfig: { clientMetadata: { contacts } } })
    expect(await ensure(['a@b.example'])).toMatchObject({ clientId: 'c1' })
    issuer.intercept = (_req, res) => {
      res.writeHead(400).end()
      return true
    }
    const asked: number[] = []
    for (let n = 0; n < 5; n++) {
      const before = issuer.requests.length
      expect(await ensure(['c@d.example'])).toMatchObject({ clientId: 'c1' })
      asked.push(issuer.requests.length - before)
    }
    // Each time: a GET, a PUT, and a registration.
    expect(asked).toEqual([3, 3, 0, 0, 0])
  })

  it('the operator’s own renewal goes through; a person’s does not', async () => {
    const registry = await startRegistry(CLIENT)
    Object.assign(registry.replies, {
      [PRM]: json({ resource: `${registry.url}/mcp`, authorization_servers: [registry.url] }),
      [ASM]: json(metadataOf(registry.url)),
    })
    await registry.ensure()
    registry.replies['/register'] = REFUSED
    const { context } = registry
    const server = declare(`${registry.url}/mcp`)
    const operator = createRegistrations(context, () => server)
    const [{ id } = { id: '' }] = await operator.list()
    const asPerson = async (): Promise<unknown> => {
      for await (const { key, ...held } of context.records.registrations.list())
        return registerAgain(context, server, key, held, { anew: true })
      throw new Error('nothing is held')
    }
    for (let n = 0; n < 3; n++) {
      await expectFailure(operator.renew(id), 'invalid_redirect_uri', /loopback only\)\.$/)
    }
    expect(registry.count('POST', '/register')).toBe(4)
    await expectFailure(asPerson(), 'invalid_redirect_uri', 'It is tried again in 2 seconds.')
    expect(registry.count('POST', '/register')).toBe(4)
    context.pass(2000)
    await expectFailure(asPerson(), 'invalid_redirect_uri', /loopback only\)\.$/)
    expect(registry.count('POST', '/register')).toBe(5)
  })
})

it('an MCP server that asks for other scopes each time has twenty clients registered, and then ever fewer', async () => {
  const registry = await startRegistry(CLIENT)
  const made: number[] = []
  const ask = async (n: number): Promise<void> =>
    void made.push(await requestsOf(registry, { scope: `s${n} ${'x'.repeat(4090)}` }))
  for (let n = 0; n < 25; n++) await ask(n)
  expect(made).toEqual([...Array<number>(20).fill(1), 0, 0, 0, 0, 0])
  const told = await expectFailure(registry.ensure({ scope: 'other' }), 'registration_failed', 'in 1 seconds')
  expect(told.fix).toContain('oauthConfig.clientId')
  expect(await requestsOf(registry, { scope: `s19 ${'x'.repeat(4090)}` })).toBe(0)
  registry.context.pass(1000)
  await ask(25)
  registry.context.pass(1999)
  await ask(26)
  expect(made.slice(25)).toEqual([1, 0])
})
