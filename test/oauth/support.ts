import type { ServerResponse } from 'node:http'
import { expect, onTestFinished } from 'vitest'
import { BoundedMap } from '../../src/bounded-map.js'
import type { McpDcrError } from '../../src/errors.js'
import type {
  Challenge,
  Connection,
  Discovered,
  OAuthClient,
  PendingFlow,
  Registration,
  Server,
} from '../../src/model.js'
import type { OAuthContext } from '../../src/oauth/context.js'
import { createDiscover } from '../../src/oauth/discover.js'
import { ensureClient } from '../../src/oauth/ensure-client.js'
import { createEmit, type McpDcrEvent } from '../../src/oauth/events.js'
import { createFailures } from '../../src/oauth/failures.js'
import { createRegistrationNotes } from '../../src/oauth/registration-notes.js'
import { createTrust } from '../../src/oauth/trusted-issuer.js'
import type { OAuthConfig } from '../../src/options.js'
import { createProviderLookup } from '../../src/providers/provider-lookup.js'
import type { ProviderProfile } from '../../src/providers/provider-profile.js'
import { resolveServers } from '../../src/resolve-servers.js'
import { createGuardedFetch, reachOf } from '../../src/security/guarded-fetch.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import type { CredentialStore } from '../../src/store/contract.js'
import { createLeases } from '../../src/store/lease.js'
import { memoryStore } from '../../src/store/memory.js'
import { connectionKey, createRecords } from '../../src/store/records.js'
import { recordingLogger, type LogLine } from '../store/support.js'
import { countRegistrationsOf } from '../support/orphans.js'
import { listen, type ReceivedRequest, type TestServer } from '../support/server.js'

export { gate } from '../store/support.js'

/** The gateway's public URL, where a test does not say otherwise. */
export const BASE_URL = 'http://localhost:3000'
export const CALLBACK = `${BASE_URL}/api/oauth/callback`

/** How a faulty server answers one path. */
export type Reply = (res: ServerResponse, request: ReceivedRequest) => void

export interface FakeServer extends TestServer {
  /** By path; what is not here is a 404. May be changed at any time. */
  readonly replies: Record<string, Reply>
  /** What was asked, as `GET /path?query`, in order. */
  asked(): string[]
}

/** A server of this test alone that answers as it is told. */
export async function startFake(
  replies: Record<string, Reply> | ((url: string) => Record<string, Reply>) = {},
): Promise<FakeServer> {
  const server = await listen()
  onTestFinished(() => server.close())
  const own = typeof replies === 'function' ? replies(server.url) : replies
  server.intercept = (_req, res, request) => {
    const reply = Object.hasOwn(own, request.path) ? own[request.path] : undefined
    ;(reply ?? status(404))(res, request)
    return true
  }
  return Object.assign(server, {
    replies: own,
    asked: () => server.requests.map(({ method, url }) => `${method} ${url}`),
  })
}

/** An MCP server that is its own authorization server, with its metadata at `/prm` too. */
export function startOwnIssuer(): Promise<FakeServer> {
  return startFake((url) => ({
    [PRM]: json({ resource: url, authorization_servers: [url] }),
    '/prm': json({ resource: url, authorization_servers: [url] }),
    [ASM]: json(metadataOf(url)),
  }))
}

export function json(value: unknown, code = 200, headers: Record<string, string> = {}): Reply {
  return text(JSON.stringify(value), 'application/json', code, headers)
}

export function text(
  body: string,
  type = 'text/plain',
  code = 200,
  headers: Record<string, string> = {},
): Reply {
  return (res) => res.writeHead(code, { 'content-type': type, ...headers }).end(body)
}

export function status(code: number, headers: Record<string, string> = {}): Reply {
  return (res) => res.writeHead(code, headers).end()
}

export const redirectTo = (location: string): Reply => status(302, { location })
export const TOO_LARGE = text(`{"filler": "${'x'.repeat(1024 * 1024)}"}`, 'application/json')
/** Never answers. */
export const SILENCE: Reply = () => undefined
/** Ends the connection without an answer. */
export const HANG_UP: Reply = (res) => void res.socket?.destroy()

export const PRM = '/.well-known/oauth-protected-resource'
export const ASM = '/.well-known/oauth-authorization-server'
export const OIDC = '/.well-known/openid-configuration'

/** Authorization server metadata that can be used; undefined removes a member. */
export function metadataOf(issuer: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    registration_endpoint: `${issuer}/register`,
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
    ...changes,
  }
}

/** A declared server, as `servers` would have it. */
export function declare(url: string, oauthConfig: OAuthConfig = {}, name = 'notes'): Server {
  return resolveServers({ [name]: { url, oauthConfig } })[0] as Server
}

export interface TestContext extends OAuthContext {
  /** What onEvent was told. */
  readonly events: McpDcrEvent[]
  readonly log: LogLine[]
  /** Moves the clock on. */
  pass(ms: number): void
}

export interface ContextOptions {
  /** Of one request, in milliseconds. Defaults to 10 s. */
  timeout?: number
  store?: CredentialStore
  clientName?: string
  clientMetadataUrl?: string
  /** Defaults to none. */
  providers?: readonly ProviderProfile[]
  /** Defaults to none: every issuer is trusted. */
  trust?: readonly string[] | undefined
}

/** What createContext() builds, over a store in memory and with a clock that stands still. */
export function createOAuthContext(options: ContextOptions = {}): TestContext {
  let now = Date.UTC(2030, 0, 1)
  const clock = (): number => now
  const { timeout = 10_000, store = memoryStore({ clock }) } = options
  const logger = recordingLogger()
  const events: McpDcrEvent[] = []
  const fetch = createGuardedFetch({ timeout, allowPrivateNetworks: [] })
  const providerOf = createProviderLookup(options.providers ?? [])
  const isTrusted = createTrust(options.trust)
  const keys = loadKeys({ keys: ['a key of more than 32 characters, for tests'], keyFile: '', local: false })
  const context: TestContext = {
    clientName: options.clientName ?? 'Test Gateway',
    clientMetadataUrl: options.clientMetadataUrl,
    records: createRecords(store, createSealer(keys)),
    leases: createLeases(memoryStore({ clock }), { clock }),
    discover: createDiscover(fetch, { timeout, clock, local: true, providerOf, isTrusted }),
    emit: createEmit((event) => void events.push(event), { clock, logger }),
    events,
    failures: createFailures(clock),
    providerOf,
    isTrusted,
    notes: createRegistrationNotes(store, clock),
    registrationPauses: new BoundedMap(100),
    newIssuers: new BoundedMap(100),
    fetch,
    reachOf: ({ url }) => reachOf(url),
    reachOfRegistration: ({ serverUrl }) => reachOf(serverUrl),
    timeout,
    clock,
    logger,
    log: logger.lines,
    pass: (ms) => void (now += ms),
  }
  countRegistrationsOf(() => registrationsOf(context))
  return context
}

/** Discovers with a fresh cache. */
export function discoverOnce(
  server: Server | undefined,
  challenge?: Challenge,
  options: ContextOptions = {},
): Promise<Discovered> {
  return createOAuthContext(options).discover(server, challenge)
}

/** Everything that an error could show anywhere, its causes included. */
function allOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = { ...error, message: error.message, cause: undefined }
  return `${JSON.stringify(own)} ${error.cause === undefined ? '' : allOf(error.cause)}`
}

/**
 * Expects a failure with this code that says what went wrong (`says`, in its message) and what to do (it has
 * a fix), and shows nothing of `hides`.
 */
export async function expectFailure(
  promise: Promise<unknown>,
  code: McpDcrError['code'],
  says: string | RegExp = /./,
  hides: readonly string[] = [],
): Promise<McpDcrError> {
  const error = await promise.then(
    (value) => expect.fail(`expected ${code}, not ${JSON.stringify(value)}`),
    (thrown: McpDcrError) => thrown,
  )
  expect({ name: error.name, code: error.code, message: error.message }).toMatchObject({
    name: 'McpDcrError',
    code,
  })
  expect(error.message).toMatch(says)
  // One line, and of a length that a log can bear.
  expect(error.message).toMatch(/^[\P{C}]{1,1000}$/u)
  expect(error.fix, 'a fix').toMatch(/\w/)
  expect(error.server, 'the server concerned').toBe('notes')
  for (const secret of hides) expect(allOf(error)).not.toContain(secret)
  return error
}

/** What discovery would have found, at this issuer. */
export function discoveredAt(issuer: string, changes: Record<string, unknown> = {}): Discovered {
  return {
    resource: `${issuer}/mcp`,
    authorizationServer: metadataOf(issuer, changes) as unknown as Discovered['authorizationServer'],
  }
}

/** Asks for a client of the MCP server `<issuer>/mcp` at this issuer. */
export function ensureClientAt(
  context: OAuthContext,
  issuer: string,
  { oauthConfig = {}, metadata = {}, scope, baseUrl = BASE_URL }: EnsureOptions = {},
): Promise<OAuthClient> {
  const server = declare(`${issuer}/mcp`, oauthConfig)
  return ensureClient(context, { server, discovered: discoveredAt(issuer, metadata), scope, baseUrl })
}

export interface EnsureOptions {
  oauthConfig?: OAuthConfig
  /** Changes to the authorization server's metadata. */
  metadata?: Record<string, unknown>
  scope?: string | undefined
  baseUrl?: string
}

export interface Registry extends FakeServer {
  readonly context: TestContext
  ensure(options?: EnsureOptions): ReturnType<typeof ensureClientAt>
}

/** An authorization server of which only the registration endpoint works, and a gateway. */
export async function startRegistry(reply: Reply, timeout?: number): Promise<Registry> {
  const fake = await startFake({ '/register': reply })
  const context = createOAuthContext(timeout === undefined ? {} : { timeout })
  return Object.assign(fake, {
    context,
    ensure: (options?: EnsureOptions) => ensureClientAt(context, fake.url, options),
  })
}

/** Every registration that is held; what is remembered of a configured client is none. */
export async function registrationsOf({ records }: OAuthContext): Promise<Registration[]> {
  const all: Registration[] = []
  for await (const { value } of records.registrations.list()) {
    if (value.status !== 'configured') all.push(value)
  }
  return all
}

/** A flow that a person has just come back from, at an issuer. */
export function flowAt(issuer: string, server: Server, changes: Partial<PendingFlow> = {}): PendingFlow {
  return {
    state: 'the-state',
    codeVerifier: 'the-verifier-of-at-least-43-characters-as-RFC-7636-demands',
    user: 'ann',
    server: server.name,
    serverUrl: server.url,
    redirectUri: CALLBACK,
    authorizationServer: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
    },
    clientSource: 'static',
    clientId: 'client-1',
    resource: server.url,
    scope: 'read',
    expiresAt: 0,
    ...changes,
  }
}

/** What the browser brings back. */
export const ANSWER = new URLSearchParams({ code: 'the-code', state: 'the-state' })

/** What onEvent was told, as `registered c1` or `refreshed ann`. */
export function told({ events }: TestContext): string[] {
  return events.map((event) => `${event.type} ${'user' in event ? event.user : event.clientId}`)
}

export const ANN = connectionKey('ann', 'notes')

export async function connectionOf({ records }: OAuthContext): Promise<Connection | undefined> {
  return (await records.connections.get(ANN))?.value
}
