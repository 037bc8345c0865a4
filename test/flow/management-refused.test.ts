import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RegistrationInfo } from '../../src/index.js'
import { HANG_UP, json, status, text, type Reply } from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let id: string
let clientId: string
/** The provider's, of every client that it registers or replaces. Defaults to none. */
let policy: () => void

beforeEach(async () => {
  policy = () => undefined
  world = await startWorld({
    authorizationServer: {
      configure: (configuration) => {
        configuration.extraClientMetadata = { properties: ['software_id'], validator: () => policy() }
      },
    },
  })
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ admin: () => true }),
  })
  const begun = await fetch(`${gateway.url}/api/oauth/authorize/notes`, {
    headers: { 'x-user': 'alice' },
    redirect: 'manual',
  })
  expect(begun.status).toBe(302)
  const [registration] = await held()
  id = registration?.id ?? ''
  clientId = registration?.clientId ?? ''
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const held = (): Promise<RegistrationInfo[]> => gateway.dcr.registrations.list()

/** The records in the store file. Secrets are sealed: written again, the same looks different. */
function stored(): unknown {
  const content = JSON.parse(readFileSync(gateway.storePath, 'utf8')) as Record<string, unknown>
  return content['oauth_client_registrations']
}

/** The client as the authorization server has it. */
async function atIssuer(): Promise<object | undefined> {
  return (await world.authorizationServer.provider.Client.find(clientId))?.metadata()
}

/** Puts answers in the place of the provider's, by method. */
function answer(replies: Partial<Record<string, Reply>>): void {
  world.authorizationServer.intercept = (_req, res, request) => {
    const reply = request.path.startsWith('/reg/') ? replies[request.method] : undefined
    reply?.(res, request)
    return reply !== undefined
  }
}

const asked = (method: string) =>
  world.authorizationServer.requests.filter((it) => it.method === method && it.path.startsWith('/reg/'))

const statuses = (method: string): unknown[] => asked(method).map((it) => it.status)

/** Whether the provider lets the client see to its record. */
async function permit(may: boolean): Promise<void> {
  const client = await world.authorizationServer.provider.Client.find(clientId)
  Object.defineProperty(client, 'noManage', { value: !may, configurable: true })
}

type Refusal = [name: string, prepare: () => void | Promise<void>, says: RegExp]

const always = (reply: Reply) => (): void => answer({ GET: reply, PUT: reply, DELETE: reply })

const FORBIDDEN: Refusal[] = [
  [
    '403',
    () => permit(false),
    /status 403 \(invalid_request: client does not have permission .* its record\)/,
  ],
  ['403 as a page', always(text('<h1>Forbidden</h1>', 'text/html', 403)), /status 403\.$/],
  ['403 in plain text', always(text('Forbidden', 'text/plain', 403)), /status 403\.$/],
]

const ABOUT_ANOTHER = json({ client_id: 'c9', client_secret: 's9', registration_access_token: 't9' })

describe('DELETE of a registration (RFC 7592 §2.3)', () => {
  const gone = (code: number) => (): void => {
    world.authorizationServer.forgetClient(clientId)
    answer({ DELETE: status(code) })
  }

  it.each<[number, () => void]>([
    [204, () => undefined],
    [401, () => world.authorizationServer.forgetClient(clientId)],
    [404, gone(404)],
    [410, gone(410)],
  ])('answered with %i deletes here too', async (code, prepare) => {
    prepare()
    await gateway.dcr.registrations.delete(id)
    expect(statuses('DELETE')).toEqual([code])
    expect([await held(), world.authorizationServer.registrations()]).toEqual([[], 0])
  })

  it.each<Refusal>([
    ...FORBIDDEN,
    ['405', always(status(405)), /status 405\.$/],
    ['500', always(status(500)), /status 500\.$/],
    ['nothing', always(HANG_UP), /could not be reached\.$/],
  ])('answered with %s keeps it, until it is answered otherwise', async (_name, prepare, says) => {
    const before = stored()
    await prepare()
    await expect(gateway.dcr.registrations.delete(id)).rejects.toMatchObject({
      code: 'management_failed',
      message: expect.stringMatching(says),
    })
    expect(stored()).toEqual(before)
    await permit(true)
    answer({})
    await gateway.dcr.registrations.delete(id)
    expect([await held(), world.authorizationServer.registrations()]).toEqual([[], 0])
  })
})

describe('PUT of a registration (RFC 7592 §2.2)', () => {
  const contacts = ['ops@example.com']
  const update = (changes: Record<string, unknown> = { contacts }): Promise<RegistrationInfo> =>
    gateway.dcr.registrations.update(id, changes)

  const refused = (name: 'InvalidSoftwareStatement' | 'UnapprovedSoftwareStatement') => async () => {
    const { errors } = await import('oidc-provider')
    policy = () => {
      throw new errors[name]('says the policy')
    }
    return { contacts }
  }

  it.each<[string, () => Promise<Record<string, unknown>>]>([
    ['invalid_redirect_uri', async () => ({ redirect_uris: [`${gateway.url}/api/oauth/callback`, 'x'] })],
    ['invalid_client_metadata', async () => ({ logo_uri: 'x' })],
    ['invalid_software_statement', refused('InvalidSoftwareStatement')],
    ['unapproved_software_statement', refused('UnapprovedSoftwareStatement')],
  ])('answered with %s (RFC 7591 §3.2.2) says so and keeps everything', async (error, prepare) => {
    const before = [stored(), await atIssuer()]
    await expect(update(await prepare())).rejects.toMatchObject({
      code: 'management_failed',
      message: expect.stringMatching(`^PUT of the registration .* status 400 \\(${error}: \\w+`),
    })
    expect(statuses('PUT')).toEqual([400])
    expect([stored(), await atIssuer()]).toEqual(before)
  })

  it.each<Refusal>([
    ...FORBIDDEN,
    ['405', () => answer({ PUT: status(405) }), /status 405\.$/],
    ['503', () => answer({ PUT: status(503) }), /status 503\.$/],
    ['nothing', () => answer({ PUT: HANG_UP }), /could not be reached\.$/],
    ['what is about another client', () => answer({ PUT: ABOUT_ANOTHER }), /about another client\.$/],
  ])('answered with %s changes nothing, until it is answered otherwise', async (_name, prepare, says) => {
    const before = stored()
    await prepare()
    await expect(update()).rejects.toMatchObject({
      code: 'management_failed',
      message: expect.stringMatching(says),
    })
    expect(stored()).toEqual(before)
    await permit(true)
    answer({})
    await update()
    expect(await atIssuer()).toMatchObject({ contacts })
  })

  it('answered with 401 says that the client is gone, and keeps the record', async () => {
    const before = stored()
    world.authorizationServer.forgetClient(clientId)
    await expect(update()).rejects.toMatchObject({ code: 'registration_gone' })
    expect(stored()).toEqual(before)
  })

  it('answered with another secret and token (RFC 7592 §3) has these used from then on', async () => {
    const secret = { client_secret: 's2', client_secret_expires_at: 2_000_000_000 }
    const method = { token_endpoint_auth_method: 'client_secret_basic' }
    const token = { registration_access_token: 't2' }
    answer({
      GET: json({ client_id: clientId }),
      PUT: json({ client_id: clientId, ...secret, ...method, ...token }),
    })
    expect(await update()).toMatchObject({
      tokenEndpointAuthMethod: 'client_secret_basic',
      clientSecretExpiresAt: 2_000_000_000,
    })
    await update()
    const [, second] = asked('PUT')
    expect([second, asked('GET')[1]].map((it) => it?.authorization)).toEqual(['Bearer t2', 'Bearer t2'])
    expect(JSON.parse(second?.body ?? '')).toMatchObject({ client_secret: 's2', ...method })
    expect(JSON.stringify(stored())).not.toMatch(/"(s2|t2)"/)
  })

  it('that is refused loses no token that came before it', async () => {
    const rotated = json({ client_id: clientId, registration_access_token: 'rotated' })
    answer({ GET: rotated, PUT: json({ error: 'invalid_client_metadata' }, 400) })
    await expect(update()).rejects.toMatchObject({ code: 'management_failed' })
    await expect(update()).rejects.toMatchObject({ code: 'management_failed' })
    expect([...asked('PUT'), ...asked('GET').slice(1)].map((it) => it.authorization)).toEqual(
      Array(3).fill('Bearer rotated'),
    )
  })
})

describe('GET of a registration (RFC 7592 §2.1)', () => {
  it.each<Refusal>([
    ...FORBIDDEN,
    ['what is about another client', always(ABOUT_ANOTHER), /about another client\.$/],
  ])('answered with %s says so and keeps everything', async (_name, prepare, says) => {
    const before = stored()
    await prepare()
    const problem = await fetch(`${gateway.url}/api/oauth/registrations/${id}`)
    expect([problem.status, await problem.json()]).toMatchObject([
      502,
      { code: 'management_failed', detail: expect.stringMatching(says) },
    ])
    expect(stored()).toEqual(before)
  })

  it('that is forbidden leaves an update to what was registered, and the changes', async () => {
    answer({ GET: status(403) })
    await gateway.dcr.registrations.update(id, { contacts: ['ops@example.com'] })
    expect([statuses('GET'), statuses('PUT')]).toEqual([[403], [200]])
    expect(await atIssuer()).toMatchObject({ contacts: ['ops@example.com'], client_name: 'MCP Gateway' })
  })
})
