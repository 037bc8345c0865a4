import { afterEach, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { browserOf, NOTES_PAGE } from '../support/visit.js'

let world: World
let gateway: DcrGateway

afterEach(async () => {
  await gateway.close()
  await world.close()
})

/** Of the last authorization request. */
function asked(): string[] | undefined {
  const request = world.authorizationServer.requests.filter(({ path }) => path === '/auth').at(-1)
  return new URL(request?.url ?? '', 'http://as').searchParams.get('scope')?.split(' ').sort()
}

/** Of the registration. */
function registered(): unknown {
  const { body } = world.authorizationServer.requests.find(({ path }) => path === '/reg') ?? { body: '{}' }
  return (JSON.parse(body) as { scope?: string }).scope?.split(' ').sort()
}

const ALL_OF_THE_ISSUER = ['mcp:read', 'mcp:write', 'mail:send', 'files:delete', 'admin']

async function start(
  scopesSupported: string[] | undefined,
  challengeWithScope = false,
  scopes?: string,
): Promise<void> {
  world = await startWorld({
    authorizationServer: { scopes: ALL_OF_THE_ISSUER },
    mcpServer: { metadata: { scopes_supported: scopesSupported }, challengeWithScope },
  })
  const { url } = world.mcpServer
  gateway = await startDcrGateway({
    servers: { notes: url },
    options: () => ({
      servers: { notes: { url, ...(scopes !== undefined && { oauthConfig: { scopes } }) } },
    }),
  })
}

it.each([
  ['the challenge', () => start(['mcp:read', 'mcp:write'], true, 'admin'), ['mcp:read', 'offline_access']],
  [
    'all that the resource supports, where the challenge says nothing',
    () => start(['mcp:read', 'mcp:write'], false, 'admin'),
    ['mcp:read', 'mcp:write', 'offline_access'],
  ],
  [
    'the configuration, where neither does',
    () => start(undefined, false, 'mcp:read'),
    ['mcp:read', 'offline_access'],
  ],
  ['nobody, where nobody does', () => start(undefined), undefined],
])(
  'asks for the scopes of %s, never for all that the issuer has (SPEC 25, FIELD-NOTES 17)',
  async (_of, begin, scopes) => {
    await begin()
    const { scopes_supported: all } = (await (
      await fetch(`${world.authorizationServer.issuer}/.well-known/openid-configuration`)
    ).json()) as { scopes_supported: string[] }
    expect(all).toEqual(expect.arrayContaining(ALL_OF_THE_ISSUER))
    const page = await browserOf('alice', gateway.url).signIn(gateway.url + NOTES_PAGE)
    expect([page.status, asked(), registered()]).toEqual([200, scopes, scopes])
  },
)

it('asks for the scopes of the challenge that dcr.fetch has met, at the connect URL (SPEC 4)', async () => {
  await start(['mcp:read', 'mcp:write'], true)
  await expect(gateway.dcr.fetch('alice', 'notes')(world.mcpServer.url)).rejects.toMatchObject({
    code: 'authorization_required',
  })
  const page = await browserOf('alice', gateway.url).signIn(`${gateway.url}/api/oauth/authorize/notes`)
  expect([page.status, asked()]).toEqual([200, ['mcp:read', 'offline_access']])
})

it.each([
  ['the challenge', () => start(['mcp:read', 'mcp:write'], true), ['mcp:read', 'offline_access']],
  [
    'all that the resource supports, where the challenge says nothing',
    () => start(['mcp:read', 'mcp:write']),
    ['mcp:read', 'mcp:write', 'offline_access'],
  ],
])(
  'asks for the scopes of %s, at the connect URL that somebody opens before anything was asked',
  async (_of, begin, scopes) => {
    await begin()
    const page = await browserOf('bob', gateway.url).signIn(`${gateway.url}/api/oauth/authorize/notes`)
    expect([page.status, asked(), registered()]).toEqual([200, scopes, scopes])
  },
)
