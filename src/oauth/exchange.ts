import { McpDcrError, quoteUntrusted } from '../errors.js'
import type { Connection, PendingFlow, Server } from '../model.js'
import { openidClient } from '../modules.js'
import { connectionKey } from '../store/records.js'
import type { OAuthContext } from './context.js'
import { connectionEvent } from './events.js'
import { nameServer } from './name-server.js'
import { hintFor } from './provider-hints.js'
import { withRefusals } from './refused-scope.js'
import { requestTokens } from './request-tokens.js'
import { assertTrusted } from './trusted-issuer.js'
import { UNUSABLE_TOKENS, type Tokens } from './token-response.js'
import { unwrapError } from './unwrap-error.js'

/**
 * Finishes a flow: checks the authorization response, exchanges the code, saves the connection. The caller
 * has matched `state`, browser and user already.
 *
 * @param parameters the callback's query
 * @throws McpDcrError `issuer_mismatch`, `issuer_not_trusted`, `access_denied`, `authorization_failed`, `client_invalid`,
 * `token_request_failed`, `token_response_invalid`, or what the store throws.
 */
export async function finishAuthorization(
  context: OAuthContext,
  server: Server,
  flow: PendingFlow,
  parameters: URLSearchParams,
): Promise<Connection> {
  assertIssuerParameter(flow, parameters)
  assertTrusted(context.isTrusted, flow.authorizationServer.issuer, server.name)
  assertNoError(context, flow, parameters)
  assertCode(flow, parameters)
  const tokens = await exchangeCode(context, server, flow, parameters)
  const connection = toConnection(flow, tokens, context.clock())
  await save(context, flow, connection)
  context.failures.clear(connectionKey(flow.user, flow.server))
  context.emit({ type: 'connected', ...connectionEvent(connection) })
  context.logger.info('connected', { server: server.name })
  return connection
}

/**
 * RFC 9207 §2.4, before the code goes anywhere and before an error is looked at (SPEC 28): on a mismatch
 * nothing in the response may be believed or shown.
 */
function assertIssuerParameter(
  { authorizationServer, server }: PendingFlow,
  parameters: URLSearchParams,
): void {
  const received = parameters.getAll('iss')
  const { issuer, authorization_response_iss_parameter_supported: expected } = authorizationServer
  if (received.length === 0 ? expected !== true : received.length === 1 && received[0] === issuer) return
  throw new McpDcrError(
    'issuer_mismatch',
    received.length === 0
      ? 'The sign-in came back without the issuer that it should name.'
      : 'The sign-in came back from another issuer than it began with.',
    {
      server,
      fix: 'Do not repeat it blindly: the answer may have been meddled with. Where the endpoints are configured by hand, set oauthConfig.issuer to the provider’s issuer.',
    },
  )
}

/** RFC 6749 §4.1.2.1. */
function assertNoError(
  { providerOf }: OAuthContext,
  { server, authorizationServer, redirectUri, clientSource }: PendingFlow,
  parameters: URLSearchParams,
): void {
  const error = parameters.get('error')
  if (error === null) return
  const description = parameters.get('error_description')
  const said = `${error} ${description ?? ''}`
  const hint = hintFor(said, redirectUri, providerOf(authorizationServer.issuer))
  if (error === 'access_denied') {
    throw new McpDcrError('access_denied', `The provider gave this gateway no access to "${server}".`, {
      server,
      fix: hint ?? 'Sign in again and allow access, or ask the provider’s administrator.',
    })
  }
  const message = `The provider answered ${quoteUntrusted(error)}${description === null ? '' : `: ${quoteUntrusted(description)}`}.`
  if (clientSource === 'dynamic' && CLIENT_REFUSED.has(error)) {
    throw new McpDcrError('client_invalid', message, {
      server,
      fix:
        hint ?? 'Choose "Register again" on the connections page, once in ten minutes; then sign in again.',
    })
  }
  throw new McpDcrError('authorization_failed', message, {
    server,
    fix: hint ?? 'Sign in again. If it stays, check the scopes and the client’s settings at the provider.',
  })
}

/** RFC 6749 §4.1.2.1, and what servers borrow from §5.2. */
const CLIENT_REFUSED: ReadonlySet<string> = new Set(['unauthorized_client', 'invalid_client'])

/** RFC 6749 §4.1.2, and §3.1: no parameter more than once. */
function assertCode({ server }: PendingFlow, parameters: URLSearchParams): void {
  const codes = parameters.getAll('code')
  if (codes.length === 1 && codes[0] !== '') return
  throw new McpDcrError('authorization_failed', 'The sign-in came back without a code.', {
    server,
    fix: 'Sign in again.',
  })
}

async function exchangeCode(
  context: OAuthContext,
  server: Server,
  flow: PendingFlow,
  parameters: URLSearchParams,
): Promise<Tokens> {
  // openid-client takes redirect_uri from this URL: it is the configured one, never the request's.
  const callback = new URL(flow.redirectUri)
  callback.search = parameters.toString()
  const sent = [flow.codeVerifier, parameters.get('code')]
  try {
    const { authorizationCodeGrant } = await openidClient()
    return await requestTokens(context, server, flow, (configuration, { clientSecret }) => {
      sent.push(clientSecret ?? null)
      return authorizationCodeGrant(
        configuration,
        callback,
        { pkceCodeVerifier: flow.codeVerifier, expectedState: flow.state },
        flow.resource === undefined ? {} : { resource: flow.resource },
      )
    })
  } catch (thrown) {
    if (thrown instanceof McpDcrError) throw nameServer(thrown, server)
    const failure = unwrapError(thrown, sent)
    if (failure.error === 'invalid_client' && !failure.transient) {
      throw new McpDcrError(
        'client_invalid',
        'The provider does not accept this gateway’s client any more.',
        {
          server: server.name,
          cause: failure.cause,
          fix: FIXES[flow.clientSource],
        },
      )
    }
    throw tokenError(failure, server)
  }
}

const FIXES: Readonly<Record<PendingFlow['clientSource'], string>> = {
  static: 'Check oauthConfig.clientId and oauthConfig.clientSecret of this server.',
  metadata_document:
    'Check that the provider can fetch the client metadata document, whose URL is the client id.',
  dynamic: 'Sign in again: the gateway registers anew.',
}

function tokenError(
  { error, description, status = 0, cause }: ReturnType<typeof unwrapError>,
  server: Server,
): McpDcrError {
  const said = [error, description].filter((text) => text !== undefined).join(': ')
  const fix = (cause instanceof McpDcrError ? cause.fix : undefined) ?? 'Sign in again.'
  const details = { server: server.name, cause, fix }
  if (cause instanceof McpDcrError) return new McpDcrError('token_request_failed', cause.message, details)
  if (status < 400) {
    return new McpDcrError('token_response_invalid', 'The token endpoint’s answer cannot be used.', {
      ...details,
      fix: UNUSABLE_TOKENS,
    })
  }
  const message = `The token endpoint answered with status ${status}${said === '' ? '' : ` (${said})`}.`
  return new McpDcrError('token_request_failed', message, details)
}

function toConnection(flow: PendingFlow, tokens: Tokens, now: number): Connection {
  const granted = tokens.scope ?? flow.scope
  const requestedScope = flow.requestedScope ?? flow.scope
  return {
    user: flow.user,
    server: flow.server,
    serverUrl: flow.serverUrl,
    status: 'connected',
    ...(flow.resource !== undefined && { resource: flow.resource }),
    clientSource: flow.clientSource,
    clientId: flow.clientId,
    redirectUri: flow.redirectUri,
    authorizationServer: flow.authorizationServer,
    accessToken: tokens.accessToken,
    ...(tokens.refreshToken !== undefined && { refreshToken: tokens.refreshToken }),
    ...(tokens.expiresAt !== undefined && { expiresAt: tokens.expiresAt }),
    ...(granted !== undefined && { scope: granted }),
    ...(requestedScope !== undefined && { requestedScope }),
    obtainedBy: 'authorization',
    obtainedAt: now,
    connectedAt: now,
  }
}

/**
 * A sign-in that just happened wins over whatever was there, its refresh token too: the person may be somebody
 * else at the provider this time. The loop is for a refresh that saves meanwhile.
 */
async function save(
  { records }: OAuthContext,
  { demandedScope }: PendingFlow,
  connection: Connection,
): Promise<void> {
  const key = connectionKey(connection.user, connection.server)
  for (let attempt = 0; attempt < 5; attempt++) {
    // One that does not open is replaced too: the person has signed in again.
    const before = await records.connections.getOrBare(key)
    // What the person refused is settled once they sign in of their own accord, not by a step-up to something else.
    const saved = demandedScope === undefined ? connection : withRefusals(connection, before?.value)
    if (await records.connections.save(key, before, saved)) return
  }
  throw new McpDcrError('store_write_failed', 'The connection kept changing while it was saved.', {
    server: connection.server,
    fix: 'Sign in again.',
  })
}
