import { McpDcrError } from '../errors.js'
import type { Registration, Server } from '../model.js'
import { formerRegistrationKey, type Versioned } from '../store/records.js'
import type { OAuthContext } from './context.js'
import { isPassing, replaceRegistration } from './manage-registration.js'
import { baseUrlOfRedirectUri } from './redirect-uri.js'
import { attemptOf, dropManagement, registerAnew } from './register-anew.js'
import { assertNotPaused } from './registration-pauses.js'
import { isManaged, isReplaced, sendable } from './registration-state.js'

/**
 * Renews a registration: at its issuer where that gives a new secret or token, otherwise by registering anew;
 * the former client is kept for what was issued under it. The caller holds the registration's lease.
 *
 * @param server the declared server, without which nothing can be registered
 * @param options.anew whether to register anew whatever the issuer offers, for a visitor, whom the pause after a
 * failure holds up as any other one. Defaults to false: the operator asks, and is not held up.
 * @throws McpDcrError what discovery, registration and management throw; `unknown_server`
 */
export async function registerAgain(
  context: OAuthContext,
  server: Server | undefined,
  key: string,
  before: Versioned<Registration>,
  { anew = false }: { anew?: boolean } = {},
): Promise<Registration> {
  const { registrations } = context.records
  const { server: name, serverUrl, scope, redirectUri, issuer, status } = before.value
  if (status === 'configured') {
    throw new McpDcrError(
      'management_not_supported',
      `The client of "${name}" is configured, not registered.`,
      {
        server: name,
        fix: 'Renew its secret in the provider’s dashboard, and set oauthConfig.clientSecret of the server.',
      },
    )
  }
  const atIssuer = anew ? 'as it was' : await renewAtIssuer(context, key, before)
  if (typeof atIssuer === 'object') return atIssuer
  if (isReplaced(key, before.value)) {
    throw new McpDcrError(
      'management_not_supported',
      'Another registration has taken the place of this one.',
      {
        server: name,
        fix: 'Renew that one. This one is kept for what was issued under it, and may be deleted.',
      },
    )
  }
  if (server?.url !== serverUrl) {
    throw new McpDcrError(
      'unknown_server',
      `The servers option has no "${name}" at the URL of this registration.`,
      {
        server: name,
        fix: 'Forget the server, which deletes what is held of it.',
      },
    )
  }
  const discovered = await context.discover(server, undefined, { fresh: true })
  if (discovered.authorizationServer.issuer !== issuer) {
    throw new McpDcrError('issuer_mismatch', `The MCP server "${name}" has another issuer by now.`, {
      server: name,
      fix: 'The next sign-in registers there. Delete this registration.',
    })
  }
  const request = { server, discovered, scope, baseUrl: baseUrlOfRedirectUri(redirectUri) }
  const held = await registrations.get(key)
  if (anew) assertNotPaused(context, attemptOf(context, request, held?.value))
  await registerAnew(context, request, key, held)
  if (atIssuer === 'gone') {
    await dropManagement(context, formerRegistrationKey(key, before.value.clientId ?? ''))
  }
  return (await registrations.get(key))?.value ?? before.value
}

/** `as it was`, too, where the issuer has no management. */
async function renewAtIssuer(
  context: OAuthContext,
  key: string,
  before: Versioned<Registration>,
): Promise<Registration | 'as it was' | 'gone'> {
  if (!isManaged(before.value)) return 'as it was'
  try {
    // With our own metadata: what was changed at the issuer may be what is wrong with it.
    const { held } = await replaceRegistration(context, key, before, sendable(before.value))
    return isRenewed(before.value, held.value) ? held.value : 'as it was'
  } catch (error) {
    if (!(error instanceof McpDcrError)) throw error
    if (error.code === 'registration_gone') return 'gone'
    if (error.code === 'management_failed' && !isPassing(error)) return 'as it was'
    throw error
  }
}

/** RFC 7591 §3.2.1: 0 is never. */
function expiryOf({ clientSecretExpiresAt = 0 }: Registration): number {
  return clientSecretExpiresAt === 0 ? Infinity : clientSecretExpiresAt
}

function isRenewed(before: Registration, after: Registration): boolean {
  return (
    before.clientSecret === undefined ||
    after.clientSecret !== before.clientSecret ||
    expiryOf(after) > expiryOf(before)
  )
}
