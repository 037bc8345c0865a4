import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { omit } from '../json-object.js'
import type { OAuthClient, Registration, Server } from '../model.js'
import { registrationKey } from '../store/records.js'
import { scopeList } from './choose-scope.js'

/** Client metadata by their names in RFC 7591 §2. */
export type Metadata = Readonly<Record<string, unknown>>

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

/**
 * Whether another registration has taken the place of this one, which is kept for what was issued under it.
 *
 * @param key where it is kept
 */
export function isReplaced(key: string, { server, issuer, redirectUri }: Registration): boolean {
  return key !== registrationKey(server, issuer, redirectUri)
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

/** When the secret expires that the client authenticates by, in epoch seconds; 0 is never. A public client's secret, which some servers give, is not used. */
function expiryOf({ clientSecretExpiresAt = 0, tokenEndpointAuthMethod }: Registration): number {
  return tokenEndpointAuthMethod === 'none' ? 0 : clientSecretExpiresAt
}

/** @param now epoch milliseconds */
export function isExpired(registration: Registration, now: number): boolean {
  const expiresAt = expiryOf(registration)
  return expiresAt !== 0 && expiresAt * 1000 <= now
}

/**
 * Whether the secret is to be renewed: 24 hours, or a tenth of its lifetime, before it expires (SPEC 44).
 *
 * @param now epoch milliseconds
 */
export function isDue(registration: Registration, now: number): boolean {
  const { clientSecretObtainedAt, createdAt } = registration
  const expiresAt = expiryOf(registration)
  if (expiresAt === 0) return false
  const lifetime = expiresAt - (clientSecretObtainedAt ?? createdAt) / 1000
  return now / 1000 >= expiresAt - Math.min(DAY, lifetime / 10)
}

/**
 * Whether it is worth while to try a renewal that is due: after one that was in vain, when half of the time
 * that was left then has passed.
 *
 * @param now epoch milliseconds
 */
export function mayBeRenewed(
  { clientSecretExpiresAt = 0, renewalTriedAt }: Registration,
  now: number,
): boolean {
  return (
    renewalTriedAt === undefined ||
    now - renewalTriedAt >= (clientSecretExpiresAt * 1000 - renewalTriedAt) / 2
  )
}

/** Whether a client was registered without a scope, since its server refused it: it may ask for any. */
export function isScopeless({ metadata, scope }: Registration): boolean {
  return scope !== undefined && metadata !== undefined && metadata['scope'] === undefined
}

/** Whether a client that was registered for some scopes may ask for these. */
function coversScope(registration: Registration, scope: string | undefined): boolean {
  if (isScopeless(registration)) return true
  const registered = new Set(scopeList(registration.scope))
  return scopeList(scope).every((token) => registered.has(token))
}

/** Whether the client would do for this request, though it should be renewed or brought up to date. */
export function fits(
  registration: Registration,
  { server, scope }: { readonly server: Server; readonly scope: string | undefined },
  now: number,
): boolean {
  return (
    registration.serverUrl === server.url && !isExpired(registration, now) && coversScope(registration, scope)
  )
}

/** Client metadata as it is kept: of a software statement, which vouches for whoever holds it, a digest. */
export function toKeep({ software_statement: statement, ...metadata }: Metadata): Metadata {
  if (statement === null) return { ...metadata, software_statement: null }
  return statement === undefined ? metadata : { ...metadata, software_statement: digest(statement) }
}

/** What may be sent again of the metadata that is kept: not what the server refused, nor the method, which is its own to say. */
export function sendable({ metadata = {}, leftOut }: Registration): Metadata {
  return omit(metadata, ['token_endpoint_auth_method', 'software_statement', leftOut])
}

function digest(statement: unknown): string {
  return `sha256:${createHash('sha256').update(String(statement)).digest('base64url')}`
}

/** Whether the gateway would register this client differently today. A record that does not say is taken as it is. */
export function hasDrifted({ metadata }: Registration, wanted: Metadata, server: Server): boolean {
  return (
    metadata !== undefined && !isDeepStrictEqual(compared(metadata, server), compared(toKeep(wanted), server))
  )
}

/** The scope is compared by {@link coversScope}; a method that nobody configured is the server's to choose. */
function compared(
  { token_endpoint_auth_method: method, scope: _, ...metadata }: Metadata,
  { oauth }: Server,
): unknown {
  // As the store gives it back: what JSON cannot hold is no difference.
  return JSON.parse(
    JSON.stringify(oauth.tokenEndpointAuthMethod === undefined ? metadata : { ...metadata, method }),
  )
}

/** What is to change of a registration, all but its scope, so that it is as wanted; null removes a member. */
export function changesOf(
  { metadata = {}, leftOut }: Registration,
  wanted: Metadata,
  { oauth }: Server,
): Metadata {
  const { token_endpoint_auth_method: method, scope: _, software_statement: statement, ...members } = wanted
  const removed = Object.keys(metadata).filter((name) => !SETTLED.has(name) && !(name in wanted))
  const isLeftOut = (name: string): boolean =>
    name === leftOut && isDeepStrictEqual(metadata[name], members[name])
  return {
    ...Object.fromEntries(removed.map((name) => [name, null])),
    ...Object.fromEntries(Object.entries(members).filter(([name]) => !isLeftOut(name))),
    ...(oauth.tokenEndpointAuthMethod !== undefined && { token_endpoint_auth_method: method }),
    ...(statement !== undefined &&
      digest(statement) !== metadata['software_statement'] && { software_statement: statement }),
  }
}

const SETTLED: ReadonlySet<string> = new Set(['token_endpoint_auth_method', 'scope'])

/** Of one member's value, as JSON, in characters: what a server says may not grow without bound. */
const MAX_SUBSTITUTE = 2048

/** What a server made of the members that it was sent, where it is something else; null where it says nothing of one. */
export function substitutions(sent: Metadata, answered: Metadata): Metadata {
  return Object.fromEntries(
    Object.keys(sent)
      .filter(
        (name) => name !== 'software_statement' && comparable(sent[name]) !== comparable(answered[name]),
      )
      .map((name) => [
        name,
        comparable(answered[name]).length > MAX_SUBSTITUTE ? null : (answered[name] ?? null),
      ]),
  )
}

/** A value as text in which the order of a list, or of a space-separated one, makes no difference. */
export function comparable(value: unknown): string {
  const list = typeof value === 'string' && value.includes(' ') ? value.split(' ') : value
  return JSON.stringify(Array.isArray(list) ? list.map(itemText).sort() : (list ?? null))
}

/** Not `String()`: an object from a server may not be convertible. */
function itemText(item: unknown): string {
  return typeof item === 'string' ? item : JSON.stringify(item ?? null)
}
