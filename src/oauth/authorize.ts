import type { Challenge, Connection, Discovered, OAuthClient, PendingFlow, Server } from '../model.js'
import { openidClient } from '../modules.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { assertEndpointUrl } from '../security/guarded-fetch.js'
import { chooseScope, scopeList, withinRegistered } from './choose-scope.js'
import type { OAuthContext } from './context.js'
import { ensureClient } from './ensure-client.js'
import { failureKey } from './failures.js'
import { redirectUriOf } from './redirect-uri.js'

/** How long a person may take to sign in, in milliseconds (SPEC 26). */
export const FLOW_LIFETIME = 10 * 60_000

/** What an authorization needs to know. */
export interface AuthorizationRequest {
  readonly server: Server
  readonly user: string
  readonly baseUrl: string
  readonly challenge: Challenge | undefined
  /** The connection that a step-up widens (SPEC 39). */
  readonly stepUp: Pick<Connection, 'requestedScope' | 'authorizationServer'> | undefined
  /** At a step-up, what its challenge asks for beyond what the token has. */
  readonly demandedScope?: string | undefined
  /** A path and query on the gateway. */
  readonly returnTo: string | undefined
}

/** Everything that can be done before the person comes: discovered, registered. */
export interface PreparedAuthorization {
  readonly discovered: Discovered
  readonly client: OAuthClient
  /** What to ask for. */
  readonly scope: string | undefined
  /** What would be asked for, if the client may. */
  readonly wanted: string | undefined
}

/** What of it does not depend on who signs in. */
export type Preparation = Pick<AuthorizationRequest, 'server' | 'baseUrl' | 'challenge' | 'stepUp'>

/**
 * Discovers the authorization server and makes sure of a client.
 *
 * @throws McpDcrError what discovery and registration throw
 */
export async function prepareAuthorization(
  context: OAuthContext,
  request: Preparation,
  options: { fresh: boolean },
): Promise<PreparedAuthorization> {
  return context.failures.watch(failureKey(request.server), () => prepare(context, request, options))
}

async function prepare(
  context: OAuthContext,
  { server, baseUrl, challenge, stepUp }: Preparation,
  options: { fresh: boolean },
): Promise<PreparedAuthorization> {
  const discovered = await context.discover(server, challenge, options)
  // Scopes are an issuer's own: what one knew may be an error at the next.
  const isSameIssuer = stepUp?.authorizationServer.issuer === discovered.authorizationServer.issuer
  const wanted = chooseScope(server, discovered, challenge, isSameIssuer ? stepUp?.requestedScope : undefined)
  const client = await ensureClient(context, { server, discovered, scope: wanted, baseUrl })
  return { discovered, client, scope: withinRegistered(wanted, client.scope), wanted }
}

/** Builds the authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2) and what must be remembered of it. */
export async function startAuthorization(
  context: OAuthContext,
  request: AuthorizationRequest,
  { discovered, client, scope, wanted }: PreparedAuthorization,
): Promise<{ url: URL; flow: PendingFlow }> {
  const { server, user, baseUrl, demandedScope, returnTo } = request
  const { authorizationServer } = discovered
  const provider = context.providerOf(authorizationServer.issuer)
  const resource = resourceToSend(server, discovered, provider)
  const openid = await openidClient()
  const flow: PendingFlow = {
    state: openid.randomState(),
    codeVerifier: openid.randomPKCECodeVerifier(),
    user,
    server: server.name,
    serverUrl: server.url,
    redirectUri: redirectUriOf(baseUrl),
    authorizationServer: whatTheCallbackNeeds(discovered),
    clientSource: client.source,
    clientId: client.clientId,
    ...(resource !== undefined && { resource }),
    ...(scope !== undefined && { scope }),
    ...(wanted !== undefined && wanted !== scope && { requestedScope: wanted }),
    ...(demandedScope !== undefined && { demandedScope }),
    ...(returnTo !== undefined && { returnTo }),
    expiresAt: context.clock() + FLOW_LIFETIME,
  }
  const url = assertEndpointUrl(authorizationServer.authorization_endpoint, 'authorization_endpoint')
  const parameters: Record<string, string | undefined> = {
    // OpenID Connect Core §11: `offline_access` is granted only where consent is asked for.
    ...(scopeList(scope).includes('offline_access') && { prompt: 'consent' }),
    ...parametersOf(provider, resource),
    ...server.oauth.authorizationParams,
    response_type: 'code',
    client_id: client.clientId,
    redirect_uri: flow.redirectUri,
    state: flow.state,
    code_challenge: await openid.calculatePKCECodeChallenge(flow.codeVerifier),
    code_challenge_method: 'S256',
    scope,
    resource,
  }
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, value)
  }
  return { url, flow }
}

/** The metadata's own string verbatim; `URL.href` would add a slash (SPEC 24). */
function resourceToSend(
  server: Server,
  discovered: Discovered,
  provider: ProviderProfile | undefined,
): string | undefined {
  const resource = server.oauth.resource ?? provider?.resource ?? discovered.resource
  return resource === false ? undefined : resource
}

/** Undefined leaves a parameter out: it would name no resource. */
function parametersOf(
  provider: ProviderProfile | undefined,
  resource: string | undefined,
): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(provider?.authorizationParams ?? {}).map(([name, value]) => [
      name,
      value.includes('{resource}') && resource === undefined
        ? undefined
        : value.replaceAll('{resource}', () => resource ?? ''),
    ]),
  )
}

/** A cookie has room for 4 KB: of the metadata it holds what exchange, refresh and revocation use. */
function whatTheCallbackNeeds({ authorizationServer }: Discovered): PendingFlow['authorizationServer'] {
  const { issuer, authorization_endpoint, token_endpoint, revocation_endpoint } = authorizationServer
  const methods = authorizationServer.token_endpoint_auth_methods_supported
  return {
    issuer,
    authorization_endpoint,
    token_endpoint,
    ...(revocation_endpoint !== undefined && { revocation_endpoint }),
    ...(methods !== undefined && { token_endpoint_auth_methods_supported: methods }),
    ...(authorizationServer.authorization_response_iss_parameter_supported === true && {
      authorization_response_iss_parameter_supported: true,
    }),
  }
}
