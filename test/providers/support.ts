import { onTestFinished } from 'vitest'
import type { Connection, PendingFlow, Server } from '../../src/model.js'
import {
  prepareAuthorization,
  startAuthorization,
  type AuthorizationRequest,
} from '../../src/oauth/authorize.js'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import type { OAuthConfig } from '../../src/options.js'
import type { ProviderProfile } from '../../src/providers/provider-profile.js'
import {
  BASE_URL,
  createOAuthContext,
  declare,
  json,
  PRM,
  startFake,
  type FakeServer,
  type Reply,
  type TestContext,
} from '../oauth/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World, type WorldOptions } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'
import type { ReceivedRequest } from '../support/server.js'

/** The declared profile, for an issuer on loopback. */
export function at(profile: ProviderProfile, issuer: string): ProviderProfile {
  return { ...profile, issuers: [issuer] }
}

export interface Gateway {
  readonly world: World
  readonly gateway: DcrGateway
  readonly alice: Person
  /** What the authorization requests had, in order. */
  authorizations(): URLSearchParams[]
}

/** A gateway that knows the provider, in front of an MCP server and an authorization server that behaves like it. */
export async function startGateway(
  profile: ProviderProfile,
  worldOptions: WorldOptions,
  oauthConfig: (issuer: string) => OAuthConfig = () => ({}),
  port?: number,
): Promise<Gateway> {
  const world = await startWorld(worldOptions)
  onTestFinished(() => world.close())
  const { authorizationServer, mcpServer } = world
  const gateway = await startDcrGateway({
    servers: { notes: mcpServer.url },
    options: () => ({
      servers: { notes: { url: mcpServer.url, oauthConfig: oauthConfig(authorizationServer.issuer) } },
      providers: [at(profile, authorizationServer.issuer)],
    }),
    ...(port !== undefined && { port }),
  })
  onTestFinished(() => gateway.close())
  const alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  return {
    world,
    gateway,
    alice,
    authorizations: () =>
      authorizationServer.requests.flatMap(({ url }) => {
        const { searchParams } = new URL(url, authorizationServer.url)
        return searchParams.has('code_challenge') ? [searchParams] : []
      }),
  }
}

export interface FakeProvider extends FakeServer {
  /** What the authorization requests had, in order. */
  readonly authorizations: URLSearchParams[]
  /** What was sent to the token endpoint, in order. */
  tokenRequests(): ReceivedRequest[]
  /** An MCP server that names these issuers. */
  mcpServer(issuers: readonly string[], scopes?: readonly string[]): Promise<FakeServer>
}

/** An authorization server that answers as it is told; `/authorize` sends every browser back with a code. */
export async function startFakeProvider(
  replies: (url: string) => Record<string, Reply>,
  back: (parameters: URLSearchParams, url: string) => Record<string, string> = () => ({ code: 'the-code' }),
): Promise<FakeProvider> {
  const authorizations: URLSearchParams[] = []
  const fake = await startFake((url) => ({
    '/authorize': (res, request) => {
      const parameters = new URL(request.url, url).searchParams
      authorizations.push(parameters)
      const location = new URL(parameters.get('redirect_uri') ?? '')
      const answer = { state: parameters.get('state') ?? '', ...back(parameters, url) }
      location.search = new URLSearchParams(answer).toString()
      res.writeHead(302, { location: location.href }).end()
    },
    ...replies(url),
  }))
  return Object.assign(fake, {
    authorizations,
    tokenRequests: () => fake.requests.filter(({ path }) => path === '/token'),
    mcpServer: (issuers: readonly string[], scopes: readonly string[] = ['read']) =>
      startFake((url) => ({
        [PRM]: json({ resource: url, authorization_servers: issuers, scopes_supported: scopes }),
      })),
  })
}

export const TOKENS = {
  access_token: 'the-token',
  token_type: 'Bearer',
  expires_in: 3600,
  refresh_token: 'the-refresh-token',
}

export interface Protocol {
  readonly context: TestContext
  readonly server: Server
  /** Discovers, registers, and opens the authorization request. */
  begin(): Promise<{ url: URL; flow: PendingFlow }>
  /** All of it: discovers, registers, authorizes, exchanges. */
  signIn(): Promise<Connection>
}

/** The protocol, by a gateway that knows the provider. */
export function protocol(
  profile: ProviderProfile | readonly ProviderProfile[],
  mcpUrl: string,
  oauthConfig: OAuthConfig = {},
): Protocol {
  const context = createOAuthContext({ providers: [profile].flat() })
  const server = declare(mcpUrl, oauthConfig)
  const request: AuthorizationRequest = {
    server,
    user: 'ann',
    baseUrl: BASE_URL,
    challenge: undefined,
    stepUp: undefined,
    returnTo: undefined,
  }
  const begin = async (): ReturnType<Protocol['begin']> =>
    startAuthorization(context, request, await prepareAuthorization(context, request, { fresh: false }))
  return {
    context,
    server,
    begin,
    async signIn() {
      const { url, flow } = await begin()
      const answer = await fetch(url, { redirect: 'manual' })
      const { searchParams } = new URL(answer.headers.get('location') ?? '')
      return finishAuthorization(context, server, flow, searchParams)
    },
  }
}
