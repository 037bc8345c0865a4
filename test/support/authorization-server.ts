import type { JSONWebKeySet } from 'jose'
import type { ClientMetadata, Configuration, Provider } from 'oidc-provider'
import { answerInteraction } from './interactions.js'
import { ProviderMemory } from './oidc-adapter.js'
import { providerConfiguration, scopesOf } from './provider-configuration.js'
import { assertNoOrphans } from './orphans.js'
import { listen, type TestServer } from './server.js'
import { signingKeys } from './signing-keys.js'

type Metadata = Record<string, unknown>

export interface AuthorizationServerOptions {
  /** Defaults to a free one. */
  port?: number
  /** The issuer's path, such as `/tenant1`; `/` makes an issuer with a trailing slash. Defaults to none. */
  path?: string
  /** Whether there is a registration endpoint. Defaults to true. */
  registration?: boolean
  /** Registration needs this Bearer token. Defaults to none. */
  initialAccessToken?: string
  /** Clients are registered by the test itself, or from another process: they are not compared with those that are held. Defaults to false. */
  ownClients?: boolean
  /** Clients registered by hand: `client_id`, `client_secret`, `redirect_uris`. Defaults to none. */
  clients?: ClientMetadata[]
  /** The resources (RFC 8707) that tokens are issued for. Defaults to any. */
  resources?: string[] | ((resource: string) => boolean)
  /** Beside `openid` and `offline_access`. Defaults to `mcp:read mcp:write read write`. */
  scopes?: string[]
  /** What an authorization request without `scope` gets. Defaults to the first of `scopes`. */
  defaultScope?: string
  /** Seconds. Defaults to 3600. */
  accessTokenLifetime?: number
  /** When a refresh token is issued: always, only when `offline_access` was granted, or never. Defaults to always. */
  refreshTokens?: 'always' | 'offline_access' | 'never'
  /** Whether each refresh gives a new refresh token, and the reuse of an old one revokes the family. Defaults to true. */
  rotateRefreshTokens?: boolean
  /** Changes the metadata document before it is served. Defaults to none. */
  metadata?: (document: Metadata) => Metadata
  /** The last word on oidc-provider's configuration. */
  configure?: (configuration: Configuration) => void
}

export interface AuthorizationServer extends TestServer {
  readonly issuer: string
  readonly provider: Provider
  /** The public keys that its access tokens (JWT, `aud` is the resource) are signed with. */
  readonly jwks: JSONWebKeySet
  /** How many dynamically registered clients it knows. */
  registrations(): number
  /** Prunes a client without telling anyone. */
  forgetClient(clientId: string): void
  /** Changes a client's metadata, as its dashboard would. */
  changeClient(clientId: string, changes: Metadata): void
  /** Changes the metadata document before it is served; may be set at any time. */
  metadata: ((document: Metadata) => Metadata) | undefined
  /** What went wrong inside oidc-provider. */
  readonly errors: unknown[]
}

/** An `oidc-provider` on loopback. Routes, below the issuer: `/auth`, `/token`, `/reg`, `/token/revocation`, `/jwks`. */
export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const [{ Provider }, keys, server] = await Promise.all([
    loadOidcProvider(),
    signingKeys(),
    listen(options.port),
  ])
  const prefix = (options.path ?? '').replace(/\/$/, '')
  const issuer = server.url + (options.path ?? '')
  const memory = new ProviderMemory()
  const errors: unknown[] = []

  const configuration = providerConfiguration(options, {
    adapter: memory.adapter,
    jwks: keys.private,
    interactionPath: `${prefix}/interaction`,
    cookiePrefix: `as_${server.port}`,
  })
  options.configure?.(configuration)
  const provider = new Provider(issuer, configuration)
  provider.silent = true
  provider.on('server_error', (_ctx, error) => errors.push(error))
  provider.use(async (ctx, next) => {
    await next()
    const { route } = (ctx as { oidc?: { route?: string } }).oidc ?? {}
    if (route === 'discovery' && handle.metadata) ctx.body = handle.metadata(ctx.body as Metadata)
  })

  const dropped = new Set<string>()
  const { count, close } = server
  const handle: AuthorizationServer = Object.assign(server, {
    issuer,
    provider,
    jwks: keys.public,
    errors,
    metadata: options.metadata,
    registrations: () => memory.of('Client').size,
    close: async () => {
      await close()
      if (options.ownClients !== true) await assertNoOrphans(issuer, memory.of('Client').keys(), dropped)
    },
    changeClient: (clientId: string, changes: Metadata) =>
      void memory.of('Client').set(clientId, { ...memory.of('Client').get(clientId), ...changes }),
    forgetClient: (clientId: string) => {
      dropped.add(clientId)
      memory.of('Client').delete(clientId)
    },
    count: (method: string, path: string | RegExp) =>
      count(method, typeof path !== 'string' || path.includes('/.well-known/') ? path : prefix + path),
  })

  const callback = provider.callback()
  const defaultScope = options.defaultScope ?? scopesOf(options)[0]
  server.serve((req, res) => {
    const route = routeOf(req.url ?? '/', prefix)
    if (route === undefined) return void res.writeHead(404).end()
    const url = withDefaultScope(route, defaultScope)
    // oidc-provider learns where it is mounted from the difference between these two.
    Object.assign(req, { url, originalUrl: prefix + url })
    return route.startsWith('/interaction/') ? answerInteraction(provider, req, res) : callback(req, res)
  })
  return handle
}

const DISCOVERY = '/.well-known/openid-configuration'

/** The route below the issuer, from a URL that has its path (RFC 8414 §3.1 puts it behind the well-known part). */
function routeOf(url: string, prefix: string): string | undefined {
  const path = url.split('?', 1)[0] ?? url
  if (path === `/.well-known/oauth-authorization-server${prefix}` || path === DISCOVERY + prefix)
    return DISCOVERY
  return url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : undefined
}

/** RFC 6749 §3.3: a request without `scope` gets a default one; oidc-provider would refuse it. */
function withDefaultScope(route: string, scope: string | undefined): string {
  const url = new URL(route, 'http://localhost')
  if (
    !['/auth', '/authorize'].includes(url.pathname) ||
    url.searchParams.has('scope') ||
    !url.search ||
    !scope
  )
    return route
  return `${route}&scope=${encodeURIComponent(scope)}`
}

let oidcProvider: Promise<typeof import('oidc-provider')> | undefined

/** It warns on the console, once, when imported on Node 20. */
function loadOidcProvider() {
  return (oidcProvider ??= (async () => {
    const { warn } = console
    console.warn = () => {}
    try {
      return await import('oidc-provider')
    } finally {
      console.warn = warn
    }
  })())
}
