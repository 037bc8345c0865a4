import { expect, it } from 'vitest'
import { createRegistrations } from '../../src/registrations.js'
import { startIssuer, type Issuer } from './issuer.js'
import {
  createOAuthContext,
  ensureClientAt,
  json,
  registrationsOf,
  startRegistry,
  status,
  type Registry,
} from './support.js'

/** Of each secret, in seconds. */
const LIFETIME = 100_000

/** Issues c1, c2, … with secrets that expire; where clients are managed, PUT issues another secret. */
async function startExpiring(isManaged: boolean): Promise<Registry> {
  const registry = await startRegistry(status(500))
  const { replies, context, url } = registry
  let [clients, secrets] = [0, 0]
  const client = () => ({
    client_id: `c${clients}`,
    client_secret: `s${++secrets}`,
    client_secret_expires_at: context.clock() / 1000 + LIFETIME,
    token_endpoint_auth_method: 'client_secret_basic',
    ...(isManaged && {
      registration_access_token: 'token',
      registration_client_uri: `${url}/register/c${clients}`,
    }),
  })
  replies['/register'] = (res, request) => {
    clients++
    json(client(), 201)(res, request)
  }
  replies['/register/c1'] = (res, request) =>
    json(request.method === 'PUT' ? client() : { client_id: 'c1' })(res, request)
  return registry
}

it.each([
  ['by PUT', true, { POST: 1, PUT: 3 }],
  ['by registering again where there is no PUT', false, { POST: 4, PUT: 0 }],
])('a client secret is renewed in time %s (FIELD-NOTES 10)', async (_how, isManaged, asked) => {
  const registry = await startExpiring(isManaged)
  // Each secret is used at its birth, at three and at six tenths of its lifetime; then it has a tenth left.
  for (let tenths = 0; tenths < 36; tenths += 3) {
    const secret = 1 + Math.floor(tenths / 9)
    expect(await registry.ensure()).toMatchObject({
      clientId: isManaged ? 'c1' : `c${secret}`,
      clientSecret: `s${secret}`,
    })
    registry.context.pass(LIFETIME * 300)
  }
  const count = (method: string): number => registry.count(method, /^\/register/)
  expect({ POST: count('POST'), PUT: count('PUT') }).toEqual(asked)
})

const requests = (issuer: Issuer): number[] => [issuer.sent('POST').length, issuer.sent('PUT').length]

it('an expiry that is past when it comes, a duration say, is taken as unknown, with a word in the log', async () => {
  const [issuer, context] = [await startIssuer(), createOAuthContext()]
  issuer.amend = () => ({
    token_endpoint_auth_method: 'client_secret_post',
    client_secret: 'hush-s1',
    client_secret_expires_at: 3600,
  })
  const said = () => context.log.filter(({ message }) => message.includes('expiry that is past')).length
  for (let n = 0; n < 4; n++) expect((await ensureClientAt(context, issuer.url)).clientId).toBe('c1')
  expect([requests(issuer), said()]).toEqual([[1, 0], 1])
  const [{ id = '' } = {}] = await createRegistrations(context, () => undefined).list()
  await createRegistrations(context, () => undefined).read(id)
  expect(said()).toBe(2)
  expect(await registrationsOf(context)).toMatchObject([{ clientId: 'c1', clientSecretExpiresAt: 0 }])
  expect(JSON.stringify(context.log)).not.toContain('hush')
})

it('an expiry that is past since it came is kept, however often the issuer repeats it', async () => {
  const [issuer, context] = [await startIssuer(), createOAuthContext()]
  const expiresAt = context.clock() / 1000 + LIFETIME
  issuer.amend = () => ({
    token_endpoint_auth_method: 'client_secret_post',
    client_secret: 'hush-s1',
    client_secret_expires_at: expiresAt,
  })
  await ensureClientAt(context, issuer.url)
  context.pass(LIFETIME * 1000)
  const [{ id = '' } = {}] = await createRegistrations(context, () => undefined).list()
  await createRegistrations(context, () => undefined).read(id)
  expect(await registrationsOf(context)).toMatchObject([{ clientSecretExpiresAt: expiresAt }])
})

it('a secret that is not used, since the client is public, needs no renewal', async () => {
  const [issuer, context] = [await startIssuer(), createOAuthContext()]
  issuer.amend = () => ({
    token_endpoint_auth_method: 'none',
    client_secret: 'hush-s1',
    client_secret_expires_at: context.clock() / 1000 + 3600,
  })
  issuer.fault.PUT = status(403)
  for (let hour = 0; hour < 4; hour++) {
    expect((await ensureClientAt(context, issuer.url)).clientId).toBe('c1')
    context.pass(3600_000)
  }
  expect(requests(issuer)).toEqual([1, 0])
})
