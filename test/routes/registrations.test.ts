import express5 from 'express'
import request, { type Response } from 'supertest'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { express4, startWorld, type World } from '../support/gateway.js'

describe.each([
  ['Express 5', express5],
  ['Express 4', express4],
])('the routes of a registration, %s', (_version, express) => {
  let world: World
  let gateway: DcrGateway
  let path: string

  beforeEach(async () => {
    world = await startWorld()
  })

  afterEach(async () => {
    await gateway.close()
    await world.close()
  })

  /** A gateway that holds a registration; what was asked of its issuer for that is not counted. */
  async function start(options: Options): Promise<void> {
    gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      options: () => options,
      express,
    })
    await request(gateway.url).get('/api/oauth/authorize/notes').set('x-user', 'alice').expect(302)
    path = `/api/oauth/registrations/${(await gateway.dcr.registrations.list())[0]?.id}`
    world.authorizationServer.requests.length = 0
  }

  /** Every change of a registration, the deletion last. */
  async function change(headers: Record<string, string> = {}): Promise<Response[]> {
    const gatewayUrl = request(gateway.url)
    return [
      await gatewayUrl
        .put(path)
        .set(headers)
        .send({ contacts: ['ops@example.com'] }),
      await gatewayUrl.post(`${path}/renew`).set(headers),
      await gatewayUrl.delete(path).set(headers),
    ]
  }

  const read = async (): Promise<Response[]> => [
    await request(gateway.url).get('/api/oauth/registrations'),
    await request(gateway.url).get(path),
  ]

  async function expectRefusal(answers: Response[], status: number, code: string): Promise<void> {
    for (const answer of answers)
      expect([answer.status, answer.type, answer.body]).toMatchObject([
        status,
        'application/problem+json',
        { status, code },
      ])
    expect(world.authorizationServer.requests).toEqual([])
    expect(await gateway.dcr.registrations.list()).toHaveLength(1)
  }

  function expectSuccess(answers: Response[]): void {
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 204])
    expect(world.authorizationServer.registrations()).toBe(0)
  }

  it.each<[string, (origin: string) => Record<string, string>]>([
    ['cross-site', () => ({ 'sec-fetch-site': 'cross-site' })],
    ['same-site', () => ({ 'sec-fetch-site': 'same-site' })],
    ['cross-site, whatever its origin', (origin) => ({ 'sec-fetch-site': 'cross-site', origin })],
    ['of another origin', () => ({ origin: 'https://evil.example' })],
    ['of another port', () => ({ origin: 'http://localhost:1' })],
    ['of an opaque origin', () => ({ origin: 'null' })],
  ])('take no change that is %s', async (_name, headers) => {
    await start({ admin: () => true })
    await expectRefusal(await change(headers(gateway.url)), 403, 'cross_site_request')
  })

  it.each<[string, (origin: string) => Record<string, string>]>([
    ['of the same origin', () => ({ 'sec-fetch-site': 'same-origin' })],
    ['that a person began', () => ({ 'sec-fetch-site': 'none' })],
    ['of our own origin', (origin) => ({ origin })],
    ['that says neither', () => ({})],
  ])('take a change %s', async (_name, headers) => {
    await start({ admin: () => true })
    expectSuccess(await change(headers(gateway.url)))
  })

  it.each<[string, () => unknown]>([
    ['false', () => false],
    ['1', () => 1],
    ['a word', () => 'yes'],
    ['an object', () => ({})],
    ['nothing', () => undefined],
    ['false, later', async () => false],
    ['a word, later', async () => 'yes'],
  ])('are closed to whom the admin option answers with %s', async (_name, admin) => {
    await start({ admin: admin as () => boolean })
    await expectRefusal(await change(), 403, 'admin_required')
    await expectRefusal(await read(), 403, 'admin_required')
  })

  it.each<[string, () => Promise<boolean>]>([
    ['rejects', () => Promise.reject(new Error('the database password is hunter2'))],
    [
      'throws',
      () => {
        throw new Error('the database password is hunter2')
      },
    ],
  ])('are closed where the admin option %s, and say nothing of why', async (_name, admin) => {
    await start({ admin })
    const answers = await change()
    await expectRefusal(answers, 500, 'internal_error')
    for (const { text } of answers) expect(text).not.toContain('hunter2')
    expect(gateway.log.join('\n')).toContain('hunter2')
  })

  it('are open to whom the admin option answers with true, later', async () => {
    await start({ admin: async (req) => req.get('x-admin') === 'yes' })
    expectSuccess(await change({ 'x-admin': 'yes' }))
  })

  it('are not there without the admin option', async () => {
    await start({})
    await expectRefusal(await change(), 404, 'not_found')
    await expectRefusal(await read(), 404, 'not_found')
  })

  it.each<[string, string, object]>([
    ['no JSON', '{', { 'content-type': 'application/json' }],
    ['too long', JSON.stringify({ a: 'x'.repeat(65_536) }), { 'content-type': 'application/json' }],
    ['empty', '{}', { 'content-type': 'application/json' }],
    ['no JSON by its type', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }],
  ])(
    'take no body that is %s; who may not change anything does not even learn that',
    async (_name, body, type) => {
      await start({ admin: (req) => req.get('x-admin') === 'yes' })
      const put = (headers: object) =>
        request(gateway.url)
          .put(path)
          .set({ ...type, ...headers })
          .send(body)
      await expectRefusal([await put({})], 403, 'admin_required')
      await expectRefusal([await put({ origin: 'https://evil.example' })], 403, 'cross_site_request')
      await expectRefusal([await put({ 'x-admin': 'yes' })], 400, 'invalid_request')
    },
  )

  it('register again for a gateway whose servers depend on the request', async () => {
    const servers = () => ({ notes: world.mcpServer.url })
    await start({ admin: () => true, servers })
    const [before] = await gateway.dcr.registrations.list()
    world.authorizationServer.forgetClient(before?.clientId ?? '')
    const answer = await request(gateway.url).post(`${path}/renew`)
    expect(answer.status).toBe(200)
    const { clientId } = (answer.body as { registration: { clientId: string } }).registration
    expect(clientId).not.toBe(before?.clientId)
    expect(world.authorizationServer.registrations()).toBe(1)
  })
})
