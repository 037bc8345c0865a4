import { beforeEach, describe, expect, it } from 'vitest'
import {
  declare,
  discoverOnce,
  expectFailure,
  HANG_UP,
  json,
  metadataOf,
  PRM,
  ASM,
  redirectTo,
  SILENCE,
  startFake,
  status,
  text,
  TOO_LARGE,
  type FakeServer,
} from './support.js'

/** The MCP server, which is its own authorization server here. */
let fake: FakeServer
let mcp: string

const resource = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  resource: mcp,
  authorization_servers: [fake.url],
  ...changes,
})

/** What was asked for in search of the resource's metadata. */
const asked = (): string[] => fake.asked().filter((line) => !line.includes('authorization-server'))

beforeEach(async () => {
  fake = await startFake((url) => ({ [ASM]: json(metadataOf(url)) }))
  mcp = `${fake.url}/public/mcp`
})

describe('where resource metadata is found (SPEC 6)', () => {
  it('is at the URL that the challenge names, and nowhere else', async () => {
    fake.replies['/elsewhere'] = json(resource({ scopes_supported: ['a', 'b'] }))
    const found = await discoverOnce(declare(mcp), { resourceMetadata: `${fake.url}/elsewhere?v=1` })
    expect(found).toMatchObject({ resource: mcp, scopesSupported: ['a', 'b'] })
    expect(asked()).toEqual(['GET /elsewhere?v=1'])
  })

  it.each([
    ['/public/mcp', [`${PRM}/public/mcp`, PRM]],
    ['/public/mcp/', [`${PRM}/public/mcp`, PRM]],
    ['/mcp?tenant=1', [`${PRM}/mcp?tenant=1`, PRM]],
    ['/', [PRM]],
    ['', [PRM]],
  ])('is looked for with the path, then at the root, for a server at %o', async (path, urls) => {
    await discoverOnce(declare(fake.url + path))
    expect(asked()).toEqual(urls.map((url) => `GET ${url}`))
  })

  it('is where the next of the challenge’s URLs leads, where the first does not (SPEC 2)', async () => {
    fake.replies['/third'] = json(resource())
    const named = (paths: string[]): object => {
      const [resourceMetadata, ...otherResourceMetadata] = paths.map((path) => fake.url + path)
      return { resourceMetadata, otherResourceMetadata }
    }
    expect(await discoverOnce(declare(mcp), named(['/first', '/second', '/third']))).toMatchObject({
      resource: mcp,
    })
    expect(asked()).toEqual(['GET /first', 'GET /second', 'GET /third'])
    await expectFailure(
      discoverOnce(declare(mcp), named(['/first', '/second'])),
      'discovery_failed',
      '/first',
    )
  })

  it.each([{}, { scope: 'read' }])('is looked for where the challenge is %o', async (challenge) => {
    fake.replies[`${PRM}/public/mcp`] = json(resource())
    expect(await discoverOnce(declare(mcp), challenge)).toMatchObject({ resource: mcp })
    expect(asked()).toEqual([`GET ${PRM}/public/mcp`])
  })

  it('says which MCP protocol version it speaks, and asks for JSON', async () => {
    await discoverOnce(declare(mcp))
    expect(fake.requests.length).toBeGreaterThan(2)
    for (const { headers } of fake.requests) {
      expect(headers['mcp-protocol-version']).toMatch(/^\d{4}-\d\d-\d\d$/)
      expect(headers.accept).toBe('application/json')
      expect(headers.authorization).toBeUndefined()
    }
  })

  it('is not taken from another origin that the challenge names', async () => {
    const other = await startFake((url) => ({
      '/prm': json({ resource: mcp, authorization_servers: [url] }),
    }))
    const challenge = { resourceMetadata: `${other.url}/prm?secret=s3cret` }
    await expectFailure(discoverOnce(declare(mcp), challenge), 'resource_mismatch', other.url, ['s3cret'])
    expect([...other.asked(), ...fake.asked()]).toEqual([])
  })

  it.each(['http://mcp.example/prm', 'javascript:alert(1)', 'file:///etc/passwd', '/relative', ''])(
    'is not taken from %o',
    async (resourceMetadata) => {
      await expectFailure(
        discoverOnce(declare(mcp), { resourceMetadata }),
        'insecure_url',
        'resource_metadata of the challenge',
      )
      expect(fake.asked()).toEqual([])
    },
  )

  it('of an undeclared upstream is at the URL of its challenge, or the error says what to do', async () => {
    fake.replies['/prm'] = json(resource())
    const found = await discoverOnce(undefined, { resourceMetadata: `${fake.url}/prm` })
    expect([found.resource, asked()]).toEqual([mcp, ['GET /prm']])
    await expect(discoverOnce(undefined, {})).rejects.toMatchObject({
      code: 'discovery_failed',
      fix: expect.stringContaining('servers option'),
    })
  })

  it('of an undeclared upstream speaks for its own origin alone', async () => {
    fake.replies['/prm'] = json(resource({ resource: 'https://mcp.example/mcp' }))
    await expect(discoverOnce(undefined, { resourceMetadata: `${fake.url}/prm` })).rejects.toMatchObject({
      code: 'resource_mismatch',
    })
  })
})

describe('the resource (SPEC 7)', () => {
  it.each([
    ['exact', '/public/mcp', 'the same'],
    ['bare origin', '', 'accepted'],
    ['bare origin with a slash', '/', 'accepted'],
    ['path prefix', '/public', 'accepted'],
    ['with a trailing slash', '/public/mcp/', 'accepted'],
    ['sibling path', '/public/mc', 'another'],
    ['longer path', '/public/mcp/tools', 'another'],
    ['other path', '/private/mcp', 'another'],
    ['climbing path', '/public/mcp/../../private', 'another'],
  ])('%s %o is %s, verbatim; strictResource wants it exact', async (_name, path, verdict) => {
    fake.replies[PRM] = json(resource({ resource: fake.url + path }))
    const lax = discoverOnce(declare(mcp))
    if (verdict === 'another') await expectFailure(lax, 'resource_mismatch', /not for .+\/public\/mcp/)
    else expect((await lax).resource).toBe(fake.url + path)
    const strict = discoverOnce(declare(mcp, { strictResource: true }))
    if (verdict === 'the same') expect((await strict).resource).toBe(mcp)
    else await expectFailure(strict, 'resource_mismatch', /not for .+\/public\/mcp/)
  })

  it.each([
    'https://mcp.example/public/mcp',
    'http://localhost:1/public/mcp',
    'http://user@localhost/public/mcp',
    'not a URL',
    'javascript:alert(1)',
    'x'.repeat(5000),
  ])('is refused where it is %o', async (other) => {
    fake.replies[PRM] = json(resource({ resource: other }))
    await expectFailure(discoverOnce(declare(mcp)), 'resource_mismatch', /^The metadata is for the resource/)
    expect(asked()).toEqual([`GET ${PRM}/public/mcp`, `GET ${PRM}`])
  })

  it('with a line break is refused before it can forge a line of the log', async () => {
    fake.replies[PRM] = json(resource({ resource: `${mcp}\nmcp-dcr: forged line` }))
    await expectFailure(discoverOnce(declare(mcp)), 'metadata_invalid', 'it has control characters')
  })

  it('is refused even where the endpoints are configured, since it is there and for another', async () => {
    fake.replies[PRM] = json(resource({ resource: 'https://mcp.example/' }))
    const endpoints = { authorizationUrl: `${fake.url}/authorize`, tokenUrl: `${fake.url}/token` }
    await expectFailure(discoverOnce(declare(mcp, endpoints)), 'resource_mismatch')
  })
})

const UNUSABLE: [string, Parameters<typeof status>[0] | ReturnType<typeof json>][] = [
  ['a 404', 404],
  ['a 401', 401],
  ['no content', 204],
  ['HTML', text('<!doctype html>', 'text/html')],
  ['an empty body', text('', 'application/json')],
  ['broken JSON', text('{"resource":', 'application/json')],
  ['a JSON array', json([{ resource: 'x' }])],
  ['a JSON string', json('resource')],
  ['null', json(null)],
  ['more than 1 MiB', TOO_LARGE],
  ['a redirect', redirectTo('/public/mcp')],
  ['a hundred thousand brackets', text('['.repeat(100_000), 'application/json')],
]

describe('an answer that is no resource metadata', () => {
  it.each(UNUSABLE)('%s with the path: the root is tried next', async (_name, reply) => {
    fake.replies[`${PRM}/public/mcp`] = typeof reply === 'number' ? status(reply) : reply
    fake.replies[PRM] = json(resource({ resource: fake.url }))
    expect((await discoverOnce(declare(mcp))).resource).toBe(fake.url)
    expect(asked()).toEqual([`GET ${PRM}/public/mcp`, `GET ${PRM}`])
  })

  it.each(UNUSABLE)('%s where the challenge points: an error that names the URL', async (_name, reply) => {
    fake.replies['/prm'] = typeof reply === 'number' ? status(reply) : reply
    const challenge = { resourceMetadata: `${fake.url}/prm?key=s3cret` }
    const error = await discoverOnce(declare(mcp), challenge).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ message: expect.stringContaining(`${fake.url}/prm`) })
    const { code } = error as { code: never }
    expect(['discovery_failed', 'metadata_invalid', 'response_too_large', 'redirect_refused']).toContain(code)
    await expectFailure(discoverOnce(declare(mcp), challenge), code, /prm/, ['s3cret'])
    expect(asked()).toEqual(['GET /prm?key=s3cret', 'GET /prm?key=s3cret'])
  })

  it.each([500, 503, 429])('status %s is a failure, not a server without metadata', async (code) => {
    // Its own origin has authorization server metadata too, for older clients: that is not the one to use.
    fake.replies[`${PRM}/public/mcp`] = status(code)
    await expectFailure(
      discoverOnce(declare(mcp)),
      'request_failed',
      `${PRM}/public/mcp answered with status`,
    )
    expect(fake.count('GET', ASM)).toBe(0)
    fake.replies[PRM] = json(resource())
    expect((await discoverOnce(declare(mcp))).resource).toBe(mcp)
  })

  it('silence ends at the timeout, and nothing else is asked', async () => {
    fake.replies[`${PRM}/public/mcp`] = SILENCE
    await expectFailure(discoverOnce(declare(mcp), undefined, { timeout: 50 }), 'request_timeout', '50 ms')
    expect(fake.asked()).toHaveLength(1)
  })

  it('a connection that breaks off is a failure', async () => {
    fake.replies[`${PRM}/public/mcp`] = HANG_UP
    await expectFailure(discoverOnce(declare(mcp)), 'request_failed', fake.url)
  })
})

describe('members of resource metadata', () => {
  it.each([
    ['missing', undefined],
    ['null', null],
    ['a number', 7],
    ['a list', ['https://mcp.example']],
    ['empty', ''],
  ])('a resource that is %s is an error', async (_name, value) => {
    fake.replies[PRM] = json(resource({ resource: value }))
    await expectFailure(discoverOnce(declare(mcp)), 'metadata_invalid', `${fake.url}${PRM} has no resource`)
  })

  it.each([
    ['a string', 'read write', undefined],
    ['null', null, undefined],
    ['a list with other things', ['read', null, 7, '', 'write'], ['read', 'write']],
    ['empty', [], []],
  ])('scopes_supported that is %s', async (_name, value, expected) => {
    fake.replies[PRM] = json(resource({ scopes_supported: value }))
    expect((await discoverOnce(declare(mcp))).scopesSupported).toEqual(expected)
  })

  it.each([
    ['missing', undefined],
    ['null', null],
    ['empty', []],
    ['a list of other things', [null, 7, {}]],
  ])('authorization_servers that is %s: the issuer is the origin', async (_name, value) => {
    fake.replies[PRM] = json(resource({ authorization_servers: value }))
    expect((await discoverOnce(declare(mcp))).authorizationServer.issuer).toBe(fake.url)
  })

  it('a __proto__ key adds nothing', async () => {
    const hostile = `{"__proto__":{"resource":"${mcp}","scopes_supported":["all"]},"authorization_servers":["${fake.url}"]}`
    fake.replies[PRM] = text(hostile, 'application/json')
    await expectFailure(discoverOnce(declare(mcp)), 'metadata_invalid', 'has no resource')
    fake.replies[PRM] = text(hostile.replace('{', `{"resource":"${mcp}",`), 'application/json')
    expect(await discoverOnce(declare(mcp))).not.toHaveProperty('scopesSupported')
    expect({}).not.toHaveProperty('resource')
  })

  it('deep nesting in what nobody reads does no harm', async () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    fake.replies[PRM] = text(JSON.stringify(resource()).replace('{', `{"x":${deep},`), 'application/json')
    expect((await discoverOnce(declare(mcp))).resource).toBe(mcp)
  })
})
