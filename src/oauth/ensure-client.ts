import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, ClientSource, Discovered, OAuthClient, Registration, Server } from '../model.js'
import { registrationKey } from '../store/records.js'
import type { OAuthContext } from './context.js'
import { register } from './register.js'
import { supportedMethod } from './registration-request.js'

/** What a client is needed for. */
export interface ClientRequest {
  readonly server: Server
  readonly discovered: Discovered
  readonly scope: string | undefined
  /** The gateway's public URL: the redirect URI and the client metadata document are below it. */
  readonly baseUrl: string
}

/**
 * The client to use, in the order of SPEC 15: configured by hand, a client metadata document, a dynamic
 * registration. One registration is in flight per MCP server, issuer and redirect URI (SPEC 20).
 */
export async function ensureClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const { server, discovered } = request
  return staticClient(server, discovered.authorizationServer) ?? metadataDocumentClient(context, request) ?? (await dynamicClient(context, request))
}

/** How a connection or a pending flow names its client. */
export interface ClientReference {
  readonly clientSource: ClientSource
  readonly clientId: string
  readonly redirectUri: string
  readonly authorizationServer: AuthorizationServerMetadata
}

/**
 * The client that a connection or a pending flow began with.
 *
 * @throws McpDcrError `client_invalid` where it is gone, or where the configuration names another one by now.
 */
export async function recallClient(
  { records }: OAuthContext,
  server: Server,
  { clientSource, clientId, redirectUri, authorizationServer }: ClientReference,
): Promise<OAuthClient> {
  let client: OAuthClient | undefined
  switch (clientSource) {
    case 'static':
      client = staticClient(server, authorizationServer)
      break
    case 'metadata_document':
      client = { source: clientSource, clientId, tokenEndpointAuthMethod: 'none' }
      break
    case 'dynamic': {
      const key = registrationKey(server.name, authorizationServer.issuer, redirectUri)
      client = toClient((await records.registrations.get(key))?.value)
    }
  }
  if (client?.clientId === clientId) return client
  throw new McpDcrError('client_invalid', 'The client that this sign-in was made with is not held any more.', {
    server: server.name,
    fix: 'Sign in again.',
  })
}

/** Forgets a dynamic registration that its issuer does not know any more, unless another took its place. */
export async function forgetClient({ records }: OAuthContext, server: Server, reference: ClientReference): Promise<void> {
  if (reference.clientSource !== 'dynamic') return
  const key = registrationKey(server.name, reference.authorizationServer.issuer, reference.redirectUri)
  const held = await records.registrations.get(key)
  if (held?.value.clientId === reference.clientId) await records.registrations.delete(key, held.version)
}

function staticClient({ oauth }: Server, authorizationServer: AuthorizationServerMetadata): OAuthClient | undefined {
  const { clientId, clientSecret } = oauth
  if (clientId === undefined) return undefined
  if (clientSecret === undefined) return { source: 'static', clientId, tokenEndpointAuthMethod: 'none' }
  const tokenEndpointAuthMethod =
    oauth.tokenEndpointAuthMethod ??
    supportedMethod(authorizationServer, ['client_secret_basic', 'client_secret_post'])
  return { source: 'static', clientId, clientSecret, tokenEndpointAuthMethod }
}

function metadataDocumentClient(
  { clientMetadataUrl }: OAuthContext,
  { discovered, baseUrl }: ClientRequest,
): OAuthClient | undefined {
  if (discovered.authorizationServer.client_id_metadata_document_supported !== true) return undefined
  const own = baseUrl.startsWith('https:') ? `${baseUrl}/api/oauth/client.json` : undefined
  const clientId = clientMetadataUrl ?? own
  return clientId === undefined ? undefined : { source: 'metadata_document', clientId, tokenEndpointAuthMethod: 'none' }
}

async function dynamicClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const redirectUri = `${request.baseUrl}/api/oauth/callback`
  const key = registrationKey(request.server.name, request.discovered.authorizationServer.issuer, redirectUri)
  const known = usable(context, request, (await context.records.registrations.get(key))?.value)
  if (known !== undefined) return known
  const flight = context.registering.get(key)
  if (flight !== undefined) return flight
  const started = context.leases
    .withLease(`register ${key}`, context.timeout + 5_000, () => registerOnce(context, request, key, redirectUri))
    .finally(() => context.registering.delete(key))
  context.registering.set(key, started)
  return started
}

/** Acquired the lease: re-read, act, save. The marker goes first, so that a crash orphans nothing silently. */
async function registerOnce(
  context: OAuthContext,
  request: ClientRequest,
  key: string,
  redirectUri: string,
): Promise<OAuthClient> {
  const { registrations } = context.records
  const { server, discovered, scope } = request
  const before = await registrations.get(key)
  const known = usable(context, request, before?.value)
  if (known !== undefined) return known
  if (before?.value.status === 'registering') {
    context.logger.warn('an earlier registration was cut off; registering again', { server: server.name })
  }
  const marker: Registration = {
    status: 'registering',
    server: server.name,
    serverUrl: server.url,
    issuer: discovered.authorizationServer.issuer,
    redirectUri,
    createdAt: context.clock(),
    ...(scope !== undefined && { scope }),
  }
  if (!(await registrations.save(key, before?.version, marker))) throw lostRace(server)
  const version = (await registrations.get(key))?.version
  try {
    const client = await register(
      server,
      discovered.authorizationServer,
      { clientName: context.clientName, redirectUri },
      scope,
      context.fetch,
      context.reachOf(server),
    )
    const registration: Registration = { ...marker, status: 'registered', ...client }
    if (!(await registrations.save(key, version, registration))) throw lostRace(server)
    context.logger.info('registered a client', { server: server.name, issuer: registration.issuer })
    return toClient(registration) as OAuthClient
  } catch (error) {
    // An answer that refuses leaves no client behind; without an answer there may be one, so the marker stays.
    const answered = !(error instanceof McpDcrError && NO_ANSWER.has(error.code))
    if (answered) await registrations.delete(key, version).catch(() => undefined)
    throw error
  }
}

const NO_ANSWER = new Set(['request_failed', 'request_timeout', 'store_write_failed', 'store_unavailable'])

function usable({ clock }: OAuthContext, { server }: ClientRequest, registration: Registration | undefined): OAuthClient | undefined {
  if (registration?.serverUrl !== server.url) return undefined
  const expiresAt = registration.clientSecretExpiresAt ?? 0
  return expiresAt !== 0 && expiresAt * 1000 <= clock() ? undefined : toClient(registration)
}

function toClient(registration: Registration | undefined): OAuthClient | undefined {
  const { status, clientId, clientSecret, tokenEndpointAuthMethod } = registration ?? {}
  if (status !== 'registered' || clientId === undefined || tokenEndpointAuthMethod === undefined) return undefined
  return { source: 'dynamic', clientId, tokenEndpointAuthMethod, ...(clientSecret !== undefined && { clientSecret }) }
}

function lostRace(server: Server): McpDcrError {
  return new McpDcrError('store_write_failed', 'Another instance changed the registration meanwhile.', {
    server: server.name,
    fix: 'Try again.',
  })
}
