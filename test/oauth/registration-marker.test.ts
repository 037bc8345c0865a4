import { describe, expect, it } from 'vitest'
import { ensureClient, recallClient } from '../../src/oauth/ensure-client.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { memoryStore } from '../../src/store/memory.js'
import { registrationKey } from '../../src/store/records.js'
import { startWorld } from '../support/gateway.js'
import {
  BASE_URL,
  CALLBACK,
  createOAuthContext,
  declare,
  discoveredAt,
  ensureClientAt,
  expectFailure,
  gate,
  HANG_UP,
  json,
  registrationsOf,
  SILENCE,
  startRegistry,
  status,
  TOO_LARGE,
  told,
  type Registry,
  type Reply,
} from './support.js'

/** Issues c1, c2, …. */
function issuing(): Parameters<typeof startRegistry>[0] {
  let issued = 0
  return (res, request) =>
    json({ client_id: `c${++issued}`, token_endpoint_auth_method: 'none' }, 201)(res, request)
}

const cutOff = ({ context }: Registry): unknown[] =>
  context.log.filter(({ level, message }) => level === 'warn' && message.includes('cut off'))

const statuses = async ({ context }: Registry): Promise<unknown[]> =>
  (await registrationsOf(context)).map((it) => [it.status, it.clientId])

describe('the marker of a registration under way', () => {
  it('is stored before the request is made, and replaced by what it yields', async () => {
    const [arrived, answer] = [gate(), gate()]
    const registry = await startRegistry((res, request) => {
      arrived.open()
      void answer.opened.then(() => issuing()(res, request))
    })
    const client = registry.ensure({ scope: 'read' })
    await arrived.opened
    const marker = {
      server: 'notes',
      serverUrl: `${registry.url}/mcp`,
      issuer: registry.url,
      redirectUri: CALLBACK,
      scope: 'read',
      createdAt: registry.context.clock(),
    }
    expect(await registrationsOf(registry.context)).toEqual([{ ...marker, status: 'registering' }])
    answer.open()
    await client
    const asked = JSON.parse(registry.requests[0]?.body ?? '') as Record<string, unknown>
    expect(await registrationsOf(registry.context)).toEqual([
      {
        ...marker,
        status: 'registered',
        clientId: 'c1',
        tokenEndpointAuthMethod: 'none',
        metadata: asked,
        // The answer names the method alone.
        substituted: Object.fromEntries(
          Object.keys(asked).flatMap((name) => (name === 'token_endpoint_auth_method' ? [] : [[name, null]])),
        ),
      },
    ])
    expect(cutOff(registry)).toEqual([])
  })

  it.each([
    ['the connection broke off', HANG_UP, 10_000],
    ['nothing came', SILENCE, 1000],
    ['too much came', TOO_LARGE, 10_000],
  ])('stays where %s; the next call says so and registers again', async (_name, reply, timeout) => {
    const registry = await startRegistry(reply, timeout)
    await expect(registry.ensure()).rejects.toMatchObject({ name: 'McpDcrError' })
    expect(await statuses(registry)).toEqual([['registering', undefined]])
    expect(cutOff(registry)).toEqual([])
    registry.replies['/register'] = issuing()
    expect(await registry.ensure()).toMatchObject({ clientId: 'c1' })
    expect(cutOff(registry)).toMatchObject([{ details: { server: 'notes' } }])
    expect(await statuses(registry)).toEqual([['registered', 'c1']])
    await registry.ensure()
    expect([registry.count('POST', '/register'), cutOff(registry).length]).toEqual([2, 1])
  })

  it('goes with a refusal; the next call registers without a word', async () => {
    const registry = await startRegistry(json({ error: 'invalid_redirect_uri' }, 400))
    await expectFailure(registry.ensure(), 'invalid_redirect_uri')
    expect(await statuses(registry)).toEqual([])
    registry.replies['/register'] = issuing()
    expect(await registry.ensure()).toMatchObject({ clientId: 'c1' })
    expect(cutOff(registry)).toEqual([])
  })

  it('that cannot be stored stops the registration', async () => {
    const store: CredentialStore = { ...memoryStore(), compareAndSet: async () => false }
    const registry = await startRegistry(issuing())
    const context = createOAuthContext({ store })
    await expectFailure(ensureClientAt(context, registry.url), 'store_write_failed')
    expect(registry.asked()).toEqual([])
  })
})

describe('one registration (SPEC 20)', () => {
  it('serves 50 at the same time, and all that come later', async () => {
    const registry = await startRegistry(issuing())
    const clients = await Promise.all(Array.from({ length: 50 }, () => registry.ensure({ scope: 'read' })))
    clients.push(await registry.ensure({ scope: 'read' }), await registry.ensure())
    expect(new Set(clients.map(({ clientId }) => clientId))).toEqual(new Set(['c1']))
    expect(registry.asked()).toEqual(['POST /register'])
  })

  it('is tried once for 20 at the same time, also where it is refused', async () => {
    const registry = await startRegistry(json({ error: 'invalid_redirect_uri' }, 400))
    const waiting = Array.from({ length: 20 }, () => registry.ensure({ scope: 'read' }))
    await Promise.all(waiting.map((promise) => expectFailure(promise, 'invalid_redirect_uri')))
    expect(registry.asked()).toEqual(['POST /register'])
    registry.replies['/register'] = issuing()
    expect(await registry.ensure({ scope: 'read' })).toMatchObject({ clientId: 'c1' })
  })

  it('is made anew for another issuer, redirect URI and server', async () => {
    const [one, two] = await Promise.all([startRegistry(issuing()), startRegistry(issuing())])
    const { context } = one
    for (const baseUrl of [BASE_URL, 'http://localhost:4000']) {
      for (const issuer of [one.url, two.url]) {
        for (const name of ['notes', 'tasks']) {
          const server = declare(`${one.url}/mcp`, {}, name)
          await ensureClient(context, { server, discovered: discoveredAt(issuer), scope: undefined, baseUrl })
        }
      }
    }
    expect([one.asked().length, two.asked().length]).toEqual([4, 4])
    expect(await registrationsOf(context)).toHaveLength(8)
  })

  it('is not used for another URL under the same name', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure()
    const server = declare(`${registry.url}/moved`)
    const request = { server, discovered: discoveredAt(registry.url), scope: undefined, baseUrl: BASE_URL }
    expect(await ensureClient(registry.context, request)).toMatchObject({ clientId: 'c2' })
  })

  it('is made again when a tenth of its secret’s lifetime is left, and not a moment before', async () => {
    const registry = await startRegistry(status(500))
    const expiresAt = registry.context.clock() / 1000 + 60
    const answer = { client_secret: 's', client_secret_expires_at: expiresAt }
    registry.replies['/register'] = json({ client_id: 'c1', ...answer }, 201)
    await registry.ensure()
    registry.context.pass(53_999)
    registry.replies['/register'] = json({ client_id: 'c2', ...answer, client_secret_expires_at: 0 }, 201)
    expect(await registry.ensure()).toMatchObject({ clientId: 'c1' })
    registry.context.pass(1)
    expect(await registry.ensure()).toMatchObject({ clientId: 'c2' })
    registry.context.pass(10 ** 12)
    expect(await registry.ensure()).toMatchObject({ clientId: 'c2' })
  })

  it('that asks for more scope replaces the former, which is still known to what was issued under it', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure({ scope: 'read' })
    expect(await registry.ensure({ scope: 'write' })).toMatchObject({ clientId: 'c2' })
    expect(JSON.parse(registry.requests[1]?.body ?? '').scope).toBe('read write')
    expect(await registry.ensure({ scope: 'read' })).toMatchObject({ clientId: 'c2' })
    const { authorizationServer } = discoveredAt(registry.url)
    const reference = { clientSource: 'dynamic', redirectUri: CALLBACK, authorizationServer } as const
    const server = declare(`${registry.url}/mcp`)
    for (const clientId of ['c1', 'c2'])
      expect(await recallClient(registry.context, server, { ...reference, clientId })).toMatchObject({
        clientId,
      })
    await expectFailure(
      recallClient(registry.context, server, { ...reference, clientId: 'c3' }),
      'client_invalid',
    )
  })

  it('that asks for more scope and is refused leaves the former in its place', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure({ scope: 'read' })
    registry.replies['/register'] = json({ error: 'invalid_client_metadata' }, 400)
    await expectFailure(registry.ensure({ scope: 'read admin' }), 'invalid_client_metadata')
    expect(await registry.ensure({ scope: 'read' })).toMatchObject({ clientId: 'c1' })
    const asked = registry.requests.map(({ body }) => JSON.parse(body).scope)
    expect(asked).toEqual(['read', 'read admin', undefined])
  })

  it('that the issuer has withdrawn since does not stand in the way of what is needed now', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure({ scope: 'old' })
    const issue = registry.replies['/register'] as Reply
    registry.replies['/register'] = (res, request) =>
      (request.body.includes('old') ? json({ error: 'invalid_client_metadata' }, 400) : issue)(res, request)
    expect(await registry.ensure({ scope: 'new' })).toMatchObject({ clientId: 'c2' })
    expect(registry.requests.map(({ body }) => JSON.parse(body).scope)).toEqual(['old', 'old new', 'new'])
    expect((await registrationsOf(registry.context)).map(({ scope }) => scope).sort()).toEqual(['new', 'old'])
  })

  it('that grows at every request stays within bounds, and so does what is kept', async () => {
    const registry = await startRegistry(issuing())
    for (let i = 0; i < 30; i++) {
      registry.context.pass(10 * 60_000)
      await registry.ensure({ scope: `${i}`.padStart(400, 'x') })
    }
    const kept = await registrationsOf(registry.context)
    expect(kept).toHaveLength(9)
    for (const { scope } of kept) expect(scope?.length).toBeLessThanOrEqual(4096)
    const ids = (word: string): string[] =>
      told(registry.context).filter((line) => line.startsWith(`${word} `))
    expect([ids('registered').length, new Set(ids('registration_deleted')).size]).toEqual([30, 21])
    expect(ids('registration_deleted')).toHaveLength(21)
  })

  it('that is cut off leaves the former in use, once; the next attempt says so in the log', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure({ scope: 'read' })
    registry.replies['/register'] = HANG_UP
    await expect(registry.ensure({ scope: 'write' })).rejects.toMatchObject({ code: 'request_failed' })
    expect(await registry.ensure({ scope: 'read' })).toMatchObject({ clientId: 'c1' })
    expect(await statuses(registry)).toEqual([['registered', 'c1']])
    registry.replies['/register'] = (res, request) =>
      json({ client_id: 'c2', token_endpoint_auth_method: 'none' }, 201)(res, request)
    expect(await registry.ensure({ scope: 'write' })).toMatchObject({ clientId: 'c2' })
    expect(cutOff(registry)).toHaveLength(1)
  })

  it('that loses a race is deleted at the issuer, and the winner is used (FIELD-NOTES 3)', async () => {
    const registry = await startRegistry(status(500))
    const { registrations } = registry.context.records
    const key = registrationKey('notes', registry.url, CALLBACK)
    const deleted: string[] = []
    registry.replies['/register/c1'] = (res, request) => {
      deleted.push(`${request.method} ${request.authorization}`)
      res.writeHead(204).end()
    }
    registry.replies['/register'] = (res, request) => {
      // Another instance, whose lease has run out, finishes first.
      void (async () => {
        const marker = await registrations.get(key)
        const winner = {
          ...marker!.value,
          status: 'registered',
          clientId: 'c0',
          tokenEndpointAuthMethod: 'none',
        } as const
        await registrations.save(key, marker, winner)
        const management = {
          registration_access_token: 'rat',
          registration_client_uri: `${registry.url}/register/c1`,
        }
        json({ client_id: 'c1', token_endpoint_auth_method: 'none', ...management }, 201)(res, request)
      })()
    }
    expect(await registry.ensure({ scope: 'read' })).toMatchObject({ clientId: 'c0' })
    expect(deleted).toEqual(['DELETE Bearer rat'])
    expect((await registrationsOf(registry.context)).map(({ clientId }) => clientId)).toEqual(['c0'])
    expect(told(registry.context)).toEqual(['registration_deleted c1'])
  })

  it('of a server that has another url by now is not taken over', async () => {
    const registry = await startRegistry(issuing())
    await registry.ensure({ scope: 'read' })
    const server = declare(`${registry.url}/moved`)
    await ensureClient(registry.context, {
      server,
      discovered: discoveredAt(registry.url),
      scope: 'write',
      baseUrl: BASE_URL,
    })
    expect(JSON.parse(registry.requests[1]?.body ?? '').scope).toBe('write')
  })
})

describe('registration at oidc-provider', () => {
  it('makes one client for 20 first authorizations at the same time', async () => {
    const world = await startWorld()
    try {
      const context = createOAuthContext()
      const server = declare(world.mcpServer.url)
      const clients = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const discovered = await context.discover(server, undefined)
          return ensureClient(context, { server, discovered, scope: 'mcp:read', baseUrl: BASE_URL })
        }),
      )
      expect(new Set(clients.map(({ clientId }) => clientId)).size).toBe(1)
      expect(world.authorizationServer.registrations()).toBe(1)
    } finally {
      await world.close()
    }
  })
})
