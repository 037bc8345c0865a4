import { expect, it } from 'vitest'
import { json, startRegistry, status, type Registry } from './support.js'

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
