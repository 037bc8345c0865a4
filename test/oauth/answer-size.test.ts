import { describe, expect, it } from 'vitest'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import { stringList } from '../../src/oauth/fetch-metadata.js'
import {
  ANSWER,
  ASM,
  connectionOf,
  createOAuthContext,
  declare,
  discoverOnce,
  expectFailure,
  flowAt,
  json,
  metadataOf,
  PRM,
  registrationsOf,
  startFake,
  startRegistry,
} from './support.js'

// An answer may have 1 MiB. What is kept of it, in memory and in the store, is far less.

const FILLER = 'filler'.repeat(20_000)
const MANY = Array.from({ length: 20_000 }, (_, n) => `scope:${n}`)
const sizeOf = (value: unknown): number => JSON.stringify(value).length

describe('of a list in metadata', () => {
  it.each([
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [
      ['a', '', 1, null, ['b'], 'c'],
      ['a', 'c'],
    ],
    [Array<string>(257).fill('a'), Array(256).fill('a')],
    [['a'.repeat(8192)], ['a'.repeat(8192)]],
    [['a'.repeat(8193), 'b'], ['b']],
    [
      ['a'.repeat(8000), 'b'.repeat(193), 'c'],
      ['a'.repeat(8000), 'c'],
    ],
    ['a', undefined],
  ])('256 strings of 8,192 characters together are kept (%#)', (list, kept) => {
    expect(stringList(list)).toEqual(kept)
  })
})

describe('of metadata', () => {
  it('what is used is kept, and nothing else', async () => {
    const fake = await startFake((url) => ({
      [PRM]: json({
        resource: url,
        authorization_servers: [url],
        scopes_supported: MANY,
        resource_name: FILLER,
      }),
      [ASM]: json({
        ...metadataOf(url),
        scopes_supported: MANY,
        token_endpoint_auth_methods_supported: ['none', ...MANY],
        code_challenge_methods_supported: ['S256', ...MANY],
        revocation_endpoint: `${url}/revoke`,
        service_documentation: FILLER,
        introspection_endpoint: `${url}/introspect`,
      }),
    }))
    const found = await discoverOnce(declare(fake.url))
    expect(sizeOf(found)).toBeLessThan(4 * 256 * 16)
    expect(JSON.stringify(found)).not.toMatch(/filler|introspect/)
    expect(found.scopesSupported).toEqual(MANY.slice(0, 256))
    expect(found.authorizationServer).toMatchObject({ revocation_endpoint: `${fake.url}/revoke` })
  })

  it.each([
    ['is too long', (url: string) => `${url}/${'a'.repeat(8192)}`],
    ['becomes too long once it is encoded', (url: string) => `${url}/${'é'.repeat(4000)}`],
  ])('a URL that %s is refused', async (_how, long) => {
    for (const member of [
      'authorization_endpoint',
      'token_endpoint',
      'registration_endpoint',
      'revocation_endpoint',
    ]) {
      const fake = await startFake((url) => ({ [ASM]: json(metadataOf(url, { [member]: long(url) })) }))
      await expectFailure(
        discoverOnce(declare(fake.url)),
        'metadata_invalid',
        `no ${member} that can be used: it is longer than 8192 characters`,
      )
    }
  })

  it('so are a resource and an issuer that are too long', async () => {
    const fake = await startFake((url) => ({
      [PRM]: json({ resource: `${url}/${'a'.repeat(8192)}` }),
      [ASM]: json(metadataOf(url, { issuer: `${url}/${'a'.repeat(8192)}` })),
    }))
    await expectFailure(discoverOnce(declare(fake.url)), 'metadata_invalid', 'no resource that can be used')
    delete fake.replies[PRM]
    await expectFailure(discoverOnce(declare(fake.url)), 'metadata_invalid', 'no issuer that can be used')
  })
})

describe('of a registration', () => {
  const CLIENT = { client_id: 'c1', token_endpoint_auth_method: 'none' }

  it('what is used is kept, and nothing else', async () => {
    const registry = await startRegistry(
      json(
        { ...CLIENT, client_name: FILLER, contacts: MANY, scope: MANY, software_id: FILLER, jwks: MANY },
        201,
      ),
    )
    await registry.ensure({ scope: 'read', oauthConfig: { clientMetadata: { contacts: ['a@b.example'] } } })
    const held = await registrationsOf(registry.context)
    expect(held).toMatchObject([{ clientId: 'c1' }])
    expect(sizeOf(held)).toBeLessThan(4096)
    expect(JSON.stringify(held)).not.toMatch(/filler|scope:/)
  })

  it.each(['client_secret', 'registration_access_token', 'registration_client_uri', 'scope'])(
    'a %s that is too long is none',
    async (member) => {
      const registry = await startRegistry((res, request) => {
        const uri = `${registry.url}/register/c1`
        const managed = { registration_access_token: 'rat1', registration_client_uri: uri }
        const long = member === 'registration_client_uri' ? `${uri}?${FILLER}` : FILLER
        json({ ...CLIENT, ...managed, [member]: long }, 201)(res, request)
      })
      await registry.ensure({ scope: 'read' })
      expect(JSON.stringify(await registrationsOf(registry.context))).not.toContain('filler')
    },
  )

  it.each([8193, 40_000])('a client id of %i characters is refused', async (length) => {
    const registry = await startRegistry(json({ ...CLIENT, client_id: 'c'.repeat(length) }, 201))
    await expectFailure(registry.ensure(), 'registration_response_invalid')
  })
})

describe('of a token answer', () => {
  const connect = async (answer: object) => {
    const context = createOAuthContext()
    const fake = await startFake({ '/token': json({ token_type: 'Bearer', ...answer }) })
    const server = declare(`${fake.url}/mcp`, { clientId: 'client-1' })
    await finishAuthorization(context, server, flowAt(fake.url, server), ANSWER)
    return connectionOf(context)
  }

  it('a refresh token or a scope that is too long is none', async () => {
    const connection = await connect({
      access_token: 'at1',
      refresh_token: FILLER,
      scope: FILLER,
      more: FILLER,
    })
    expect(connection).toMatchObject({ accessToken: 'at1', scope: 'read' })
    expect(JSON.stringify(connection)).not.toContain('filler')
  })

  it('an access token that is too long is refused', async () => {
    const failed = connect({ access_token: FILLER })
    await expectFailure(failed, 'token_response_invalid')
  })
})
