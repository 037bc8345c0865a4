import { isDeepStrictEqual } from 'node:util'
import type { OAuthClient, Registration } from '../model.js'
import { scopeList } from './choose-scope.js'

const DAY = 24 * 3600

/** The client of a finished registration. */
export function toClient(registration: Registration | undefined): OAuthClient | undefined {
  const { status, clientId, clientSecret, tokenEndpointAuthMethod, registeredScope } = registration ?? {}
  if (status !== 'registered' || clientId === undefined || tokenEndpointAuthMethod === undefined)
    return undefined
  return {
    source: 'dynamic',
    clientId,
    tokenEndpointAuthMethod,
    ...(clientSecret !== undefined && { clientSecret }),
    ...(registeredScope !== undefined && { scope: registeredScope }),
  }
}

/** Whether the issuer lets this client be read, replaced and deleted (SPEC 41). */
export function isManaged(
  registration: Registration,
): registration is Registration &
  Required<Pick<Registration, 'clientId' | 'registrationAccessToken' | 'registrationClientUri'>> {
  const { clientId, registrationAccessToken, registrationClientUri } = registration
  return (
    clientId !== undefined && registrationAccessToken !== undefined && registrationClientUri !== undefined
  )
}

/** @param now epoch milliseconds */
export function isExpired({ clientSecretExpiresAt = 0 }: Registration, now: number): boolean {
  return clientSecretExpiresAt !== 0 && clientSecretExpiresAt * 1000 <= now
}

/**
 * Whether the secret is to be renewed: 24 hours, or a tenth of its lifetime, before it expires (SPEC 44).
 *
 * @param now epoch milliseconds
 */
export function isDue(registration: Registration, now: number): boolean {
  const { clientSecretExpiresAt = 0, clientSecretObtainedAt, createdAt } = registration
  if (clientSecretExpiresAt === 0) return false
  const lifetime = clientSecretExpiresAt - (clientSecretObtainedAt ?? createdAt) / 1000
  return now / 1000 >= clientSecretExpiresAt - Math.min(DAY, lifetime / 10)
}

/** Whether a client that was registered for some scopes may ask for these. */
export function coversScope(registration: Registration, scope: string | undefined): boolean {
  const registered = new Set(scopeList(registration.scope))
  return scopeList(scope).every((token) => registered.has(token))
}

/** Members that are settled otherwise: by what the server answered, by {@link coversScope}, or once and for all. */
const NOT_COMPARED = ['token_endpoint_auth_method', 'scope', 'software_statement']

/** Whether the gateway would register this client differently today. A record that does not say is taken as it is. */
export function hasDrifted({ metadata }: Registration, wanted: Readonly<Record<string, unknown>>): boolean {
  return metadata !== undefined && !isDeepStrictEqual(compared(metadata), compared(wanted))
}

function compared(metadata: Readonly<Record<string, unknown>>): unknown {
  const entries = Object.entries(metadata).filter(([name]) => !NOT_COMPARED.includes(name))
  // As the store gives it back: what JSON cannot hold is no difference.
  return JSON.parse(JSON.stringify(Object.fromEntries(entries)))
}
