import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RegistrationInfo } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Page, type Person } from '../support/person.js'

let world: World
let gateway: DcrGateway
let ahead = 0

beforeEach(async () => {
  world = await startWorld()
  ahead = 0
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      clock: () => Date.now() + ahead,
      admin: (req) => req.get('x-admin') === 'yes',
      clientName: 'A gateway',
    }),
  })
})

afterEach(async () => {
  expect(gateway.log.join('\n')).not.toMatch(/eyJ/)
  await gateway.close()
  await world.close()
})

async function connect(user: string): Promise<Person> {
  const person = createPerson()
  person.setCookie(gateway.url, `user=${user}; Path=/`)
  expect((await person.signIn(`${gateway.url}/mcp/notes/page`, { login: user })).status).toBe(200)
  return person
}

async function only(): Promise<RegistrationInfo> {
  const [registration, ...more] = await gateway.dcr.registrations.list()
  expect(more).toEqual([])
  return registration as RegistrationInfo
}

/** The client as the authorization server has it. */
async function atIssuer(clientId = ''): Promise<Record<string, unknown> | undefined> {
  return (await world.authorizationServer.provider.Client.find(clientId))?.metadata()
}

const secretsIn = (value: unknown): string[] =>
  JSON.stringify(value).match(/"(client_?secret|registration_?access_?token|registration_?client_?uri)"/gi) ??
  []

describe('dcr.registrations (RFC 7592)', () => {
  it('lists what is held, without anything secret', async () => {
    expect(await gateway.dcr.registrations.list()).toEqual([])
    await connect('alice')
    const registration = await only()
    expect(registration).toMatchObject({
      status: 'registered',
      server: 'notes',
      serverUrl: world.mcpServer.url,
      issuer: world.authorizationServer.issuer,
      redirectUri: `${gateway.url}/api/oauth/callback`,
      tokenEndpointAuthMethod: 'none',
      managed: true,
    })
    expect(registration.id).toMatch(/^[\w-]{22}$/)
    expect(secretsIn(registration)).toEqual([])
  })

  it('reads the client at its issuer, and says where that differs', async () => {
    await connect('alice')
    const { id, clientId } = await only()
    const report = await gateway.dcr.registrations.read(id)
    expect(report.remote).toMatchObject({ client_id: clientId, client_name: 'A gateway' })
    expect(report.drift).toEqual([])
    expect(secretsIn(report)).toEqual([])
    world.authorizationServer.changeClient(clientId ?? '', { client_name: 'Renamed in the dashboard' })
    expect((await gateway.dcr.registrations.read(id)).drift).toEqual([
      { member: 'client_name', held: 'A gateway', remote: 'Renamed in the dashboard' },
    ])
  })

  it('updates, again and again with the rotated token, and what the configuration wants stays undisturbed', async () => {
    await connect('alice')
    const { id, clientId } = await only()
    for (const contacts of [['a@example.com'], ['b@example.com']]) {
      await gateway.dcr.registrations.update(id, { contacts })
      expect(await atIssuer(clientId)).toMatchObject({ contacts, client_name: 'A gateway' })
    }
    const uris = [`${gateway.url}/api/oauth/callback`, 'http://localhost:9/other']
    await gateway.dcr.registrations.update(id, { redirect_uris: uris })
    expect((await atIssuer(clientId))?.redirect_uris).toEqual(uris)
    await connect('bob')
    expect((await only()).clientId).toBe(clientId)
    expect((await atIssuer(clientId))?.redirect_uris).toEqual(uris)
  })

  it.each([
    ['no object', 'x', 'not an object'],
    ['the issuer’s own', { client_id: 'x' }, 'client_id'],
    ['a secret', { client_secret: 'x' }, 'client_secret'],
    ['redirect URIs without our own', { redirect_uris: ['https://x.example'] }, 'redirect_uris has to hold'],
  ])('refuses %s', async (_what, metadata, says) => {
    await connect('alice')
    const { id } = await only()
    await expect(gateway.dcr.registrations.update(id, metadata as never)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(says),
    })
    expect(world.authorizationServer.count('PUT', /^\/reg\//)).toBe(0)
  })

  it('says what the issuer refuses, and keeps everything', async () => {
    await connect('alice')
    const { id, clientId } = await only()
    const refused = gateway.dcr.registrations.update(id, { logo_uri: 'not a URL' })
    await expect(refused).rejects.toMatchObject({
      code: 'management_failed',
      message: expect.stringContaining('logo_uri'),
    })
    expect((await gateway.dcr.registrations.read(id)).registration.clientId).toBe(clientId)
  })

  it('renews: the registration access token at least; a client that the issuer has dropped is registered again', async () => {
    await connect('alice')
    const before = await only()
    expect((await gateway.dcr.registrations.renew(before.id)).clientId).toBe(before.clientId)
    world.authorizationServer.forgetClient(before.clientId ?? '')
    await expect(gateway.dcr.registrations.read(before.id)).rejects.toMatchObject({
      code: 'registration_gone',
    })
    const again = await gateway.dcr.registrations.renew(before.id)
    expect(again.id).toBe(before.id)
    expect(again.clientId).not.toBe(before.clientId)
    expect(await atIssuer(again.clientId)).toBeDefined()
    await connect('bob')
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('deletes at the issuer and here; also one that is not there any more', async () => {
    await connect('alice')
    await gateway.dcr.registrations.delete((await only()).id)
    expect([world.authorizationServer.registrations(), await gateway.dcr.registrations.list()]).toEqual([
      0,
      [],
    ])
    await connect('bob')
    world.authorizationServer.forgetClient((await only()).clientId ?? '')
    await gateway.dcr.registrations.delete((await only()).id)
    expect(await gateway.dcr.registrations.list()).toEqual([])
  })

  it('knows no other id', async () => {
    await expect(gateway.dcr.registrations.read('x\ny')).rejects.toMatchObject({
      code: 'registration_not_found',
    })
  })
})

describe('the routes under /api/oauth/registrations', () => {
  const ask = async (
    method: string,
    path = '',
    { headers = {}, body }: { headers?: Record<string, string>; body?: unknown } = {},
  ): Promise<{ status: number; body: Record<string, never> }> => {
    const answer = await fetch(`${gateway.url}/api/oauth/registrations${path}`, {
      method,
      headers: { 'x-admin': 'yes', 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, never> }
  }

  it('list, read, update, renew and delete', async () => {
    await connect('alice')
    const registration = await only()
    const path = `/${registration.id}`
    expect(await ask('GET')).toEqual({ status: 200, body: { registrations: [registration] } })
    expect(await ask('GET', path)).toMatchObject({ status: 200, body: { registration, drift: [] } })
    const contacts = ['ops@example.com']
    expect(await ask('PUT', path, { body: { contacts } })).toEqual({ status: 200, body: { registration } })
    expect(await atIssuer(registration.clientId)).toMatchObject({ contacts })
    expect(await ask('POST', `${path}/renew`)).toMatchObject({ status: 200, body: { registration } })
    expect(await ask('DELETE', path)).toEqual({ status: 204, body: {} })
    expect(await ask('DELETE', path)).toMatchObject({ status: 404, body: { code: 'registration_not_found' } })
    expect(world.authorizationServer.registrations()).toBe(0)
  })

  it('are for those whom the admin option lets through', async () => {
    for (const method of ['GET', 'PUT', 'DELETE'])
      expect(await ask(method, '/x', { headers: { 'x-admin': 'no' } })).toMatchObject({
        status: 403,
        body: { code: 'admin_required' },
      })
  })

  it.each([
    [{ 'sec-fetch-site': 'cross-site' }],
    [{ 'sec-fetch-site': 'same-site' }],
    [{ origin: 'https://evil.example' }],
    [{ origin: 'null' }],
  ])('take no change from a page elsewhere: %j', async (headers) => {
    expect(await ask('POST', '/x/renew', { headers })).toMatchObject({
      status: 403,
      body: { code: 'cross_site_request' },
    })
  })

  it.each(['{', '"x"', `{"x":"${'x'.repeat(70_000)}"}`])(
    'refuse a body that is no metadata: %.10s',
    async (body) => {
      await connect('alice')
      expect(await ask('PUT', `/${(await only()).id}`, { body })).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      })
    },
  )

  it('are not there without an admin option', async () => {
    const plain = await startDcrGateway({ servers: { notes: world.mcpServer.url } })
    expect((await fetch(`${plain.url}/api/oauth/registrations`)).status).toBe(404)
    await plain.close()
  })
})

describe('disconnecting and forgetting (RFC 7009)', () => {
  const revoked = (): string[] =>
    world.authorizationServer.requests
      .filter(({ path }) => path === '/token/revocation')
      .map(({ form }) => form.get('token_type_hint') ?? '')

  const disconnect = (person: Person, headers: Record<string, string> = {}): Promise<Page> =>
    person.fetch(`${gateway.url}/api/oauth/connections/notes`, { method: 'DELETE', headers })

  it('revokes the refresh token, then the access token; others stay connected', async () => {
    const [alice, bob] = [await connect('alice'), await connect('bob')]
    expect((await disconnect(alice)).status).toBe(204)
    expect(revoked()).toEqual(['refresh_token', 'access_token'])
    expect((await gateway.dcr.connections('alice'))[0]?.state).toBe('not_connected')
    expect((await bob.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    expect((await disconnect(alice)).status).toBe(204)
    expect(await gateway.dcr.disconnect('bob', 'notes')).toBe(true)
    expect(await gateway.dcr.disconnect('bob', 'notes')).toBe(false)
    expect(revoked()).toHaveLength(4)
    expect(world.authorizationServer.registrations()).toBe(1)
  })

  it('takes no word from a page elsewhere, nor for nobody', async () => {
    const alice = await connect('alice')
    expect((await disconnect(alice, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    expect((await disconnect(createPerson())).status).toBe(401)
    expect((await gateway.dcr.connections('alice'))[0]?.state).toBe('connected')
    expect(revoked()).toEqual([])
  })

  it.each([400, 503])('deletes whatever the issuer answers: %i', async (status) => {
    const alice = await connect('alice')
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token/revocation') return false
      res.writeHead(status).end()
      return true
    }
    expect((await disconnect(alice)).status).toBe(204)
    expect(revoked()).toEqual(['refresh_token', 'access_token'])
    expect((await gateway.dcr.connections('alice'))[0]?.state).toBe('not_connected')
    expect(gateway.log.join('\n')).toContain('could not be revoked')
  })

  it('forgets a server: every connection, and the registration at the issuer too', async () => {
    await connect('alice')
    await connect('bob')
    await gateway.dcr.forget('notes')
    expect(revoked()).toHaveLength(4)
    expect(await gateway.dcr.registrations.list()).toEqual([])
    expect(world.authorizationServer.registrations()).toBe(0)
    for (const user of ['alice', 'bob'])
      expect((await gateway.dcr.connections(user))[0]?.state).toBe('not_connected')
    await connect('alice')
  })

  it('forgets a server that is not declared any more', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
    await gateway.close()
    gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url }, directory })
    await connect('alice')
    await gateway.close()
    gateway = await startDcrGateway({ servers: { other: 'https://other.example/mcp' }, directory })
    await gateway.dcr.forget('notes')
    expect(revoked()).toEqual(['refresh_token', 'access_token'])
    expect(world.authorizationServer.registrations()).toBe(0)
    expect(await gateway.dcr.registrations.list()).toEqual([])
    rmSync(directory, { recursive: true })
  })
})

describe('a sign-in that never came back (SPEC 45)', () => {
  /** Begins a sign-in whose client the provider has dropped: it ends on the provider's own page. */
  async function strand(user: string): Promise<Person> {
    const person = createPerson()
    person.setCookie(gateway.url, `user=${user}; Path=/`)
    await person.open(`${gateway.url}/mcp/notes/page`)
    world.authorizationServer.forgetClient((await only()).clientId ?? '')
    const page = await person.signIn(`${gateway.url}/mcp/notes/page`)
    expect(new URL(page.url).origin).toBe(world.authorizationServer.url)
    return person
  }

  const registerAgain = (person: Person, headers: Record<string, string> = {}): Promise<Page> =>
    person.fetch(`${gateway.url}/api/oauth/connections/notes/register`, { method: 'POST', headers })

  it('offers to register again on the connections page, and the next sign-in works (FIELD-NOTES 1)', async () => {
    const alice = await strand('alice')
    const connections = await alice.open(`${gateway.url}/api/oauth/connections`)
    expect(connections.text).toContain('A sign-in that you began has not come back')
    const page = await alice.follow(`${gateway.url}/api/oauth/connections/notes/register`, {
      method: 'POST',
      headers: { origin: gateway.url, 'sec-fetch-site': 'same-origin' },
    })
    expect(page.url).toBe(`${gateway.url}/api/oauth/connections`)
    expect(page.text).not.toContain('has not come back')
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).text).toContain('alice')
    expect(world.authorizationServer.registrations()).toBe(1)
    const after = await alice.open(`${gateway.url}/api/oauth/connections`)
    expect(after.text).not.toContain('has not come back')
    expect(after.text).toContain('Disconnect')
  })

  it.each(['invalid_client', 'unauthorized_client'])(
    'and one that came back with %s: the page leads to where to register again',
    async (error) => {
      const alice = createPerson()
      alice.setCookie(gateway.url, 'user=alice; Path=/')
      const { authorizationServer } = world
      authorizationServer.intercept = (_req, res, { path, url }) => {
        if (path !== '/auth') return false
        const { redirect_uri = '', state = '' } = Object.fromEntries(new URL(url, gateway.url).searchParams)
        const answer = new URLSearchParams({ error, state, iss: authorizationServer.issuer })
        res.writeHead(303, { location: `${redirect_uri}?${answer}` }).end()
        return true
      }
      const failed = await alice.follow(`${gateway.url}/mcp/notes/page`)
      expect(failed.text).toContain('client_invalid')
      const [, link = ''] = /<a class="button" href="([^"]*)"/.exec(failed.text) ?? []
      expect(link).toBe(`${gateway.url}/api/oauth/connections`)
      expect((await alice.open(link)).text).toContain('Register again')
      // It is finished nevertheless: its address leads nowhere any more.
      expect((await alice.open(failed.url)).text).toContain('flow_not_found')

      authorizationServer.intercept = undefined
      authorizationServer.forgetClient((await only()).clientId ?? '')
      expect((await registerAgain(alice)).status).toBe(200)
      expect(authorizationServer.count('POST', '/reg')).toBe(2)
      expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).text).toContain('alice')
      expect((await alice.open(link)).text).not.toContain('Register again')
    },
  )

  it('registers once for several who are stranded, and not again for ten minutes', async () => {
    const [alice, bob] = [await strand('alice'), createPerson()]
    bob.setCookie(gateway.url, 'user=bob; Path=/')
    await bob.open(`${gateway.url}/mcp/notes/page`)
    const before = world.authorizationServer.count('POST', '/reg')
    const answers = await Promise.all([registerAgain(alice), registerAgain(bob)])
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(JSON.parse(answers[0].text)).toEqual({
      authorizationUrl: `${gateway.url}/api/oauth/authorize/notes`,
    })
    expect((await registerAgain(alice)).status).toBe(400)
    await alice.open(`${gateway.url}/mcp/notes/page`)
    expect((await registerAgain(alice)).status).toBe(400)
    expect(world.authorizationServer.count('POST', '/reg') - before).toBe(1)
  })

  it('is known by the browser alone: another one of the same user, or ten minutes later, offers nothing', async () => {
    const alice = await strand('alice')
    const other = createPerson()
    other.setCookie(gateway.url, 'user=alice; Path=/')
    expect((await registerAgain(other)).status).toBe(400)
    ahead += 10 * 60_000
    expect((await registerAgain(alice)).status).toBe(400)
    const page = await alice.open(`${gateway.url}/api/oauth/connections`)
    expect(page.text).not.toContain('has not come back')
  })

  it('is for whom it happened to, on the gateway’s own page', async () => {
    const alice = await strand('alice')
    expect((await registerAgain(alice, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    const bob = createPerson()
    bob.setCookie(gateway.url, 'user=bob; Path=/')
    expect((await registerAgain(bob)).status).toBe(400)
    expect((await registerAgain(createPerson())).status).toBe(401)
  })
})
