import { createHash } from 'node:crypto'
import { McpDcrError, quoteUntrusted } from './errors.js'
import type { Registration, Server, TokenEndpointAuthMethod } from './model.js'
import type { OAuthContext } from './oauth/context.js'
import { emitRegistration } from './oauth/events.js'
import { deleteRegistration, readRegistration, replaceRegistration } from './oauth/manage-registration.js'
import { registerAgain } from './oauth/register-again.js'
import { withRegistrationLease } from './oauth/registration-lease.js'
import { comparable, isManaged, isReplaced } from './oauth/registration-state.js'
import { warnOfUnopened } from './oauth/warn-of-unopened.js'
import type { MaybeOpened } from './store/records.js'

/** A registration, without anything secret. */
export interface RegistrationInfo {
  /** Names it in {@link Registrations} and in the routes. Stays the same as long as the server, issuer and redirect URI do. */
  id: string
  /**
   * `registering`: a request is under way, or was cut off. `configured`: not registered but configured, and
   * bound to the issuer at which it was first used.
   */
  status: 'registering' | 'registered' | 'configured'
  server: string
  serverUrl: string
  issuer: string
  redirectUri: string
  clientId?: string
  tokenEndpointAuthMethod?: TokenEndpointAuthMethod
  /** What the client may ask for, space-separated. */
  scope?: string
  /** Whether the issuer lets it be read, updated, renewed and deleted (RFC 7592). */
  managed: boolean
  /** When the gateway began to register it, in epoch milliseconds. */
  createdAt: number
  /** When the client id was issued, in epoch seconds (RFC 7591 §3.2.1). */
  clientIdIssuedAt?: number
  /** When the secret expires, in epoch seconds; 0 is never (RFC 7591 §3.2.1). */
  clientSecretExpiresAt?: number
}

/** Where the issuer's view of a client differs from ours. */
export interface RegistrationDrift {
  /** The client metadata member (RFC 7591 §2). */
  member: string
  /** What the gateway registered it with, as the issuer answered then. */
  held: unknown
  /** What the issuer says; undefined where it says nothing. */
  remote: unknown
}

/** What an issuer says of a client beside what is held of it. */
export interface RegistrationReport {
  registration: RegistrationInfo
  /** The client metadata as the issuer returned it, without anything secret. */
  remote: Record<string, unknown>
  drift: RegistrationDrift[]
}

/**
 * The client registrations, and their management at the issuer (RFC 7592). Rotated registration access tokens
 * and secrets are saved before a call returns.
 *
 * Rejects with `McpDcrError`: `registration_not_found` for an unknown id; `invalid_request` for metadata that
 * cannot be changed; `management_not_supported` where the
 * issuer gave no access; `registration_gone` where it does not know the client any more; `management_failed`
 * where it refused, or could not be reached; and what the store throws. Nothing is lost then.
 */
export interface Registrations {
  list(): Promise<RegistrationInfo[]>
  /** Reads the client at its issuer, and compares. */
  read(id: string): Promise<RegistrationReport>
  /**
   * Changes client metadata (RFC 7591 §2) at the issuer, such as `logo_uri` or `contacts`; null removes a
   * member. What the configuration sets is put back when that changes next.
   */
  update(id: string, clientMetadata: Record<string, unknown>): Promise<RegistrationInfo>
  /**
   * Renews the secret and the registration access token; where the issuer does not do that, registers again,
   * for which the server has to be declared. Where `servers` is a function of the request, that is the route's
   * to do, `POST /api/oauth/registrations/:id/renew`.
   */
  renew(id: string): Promise<RegistrationInfo>
  /** Deletes the client at its issuer, then here. What was connected by it needs a new sign-in once its tokens expire. */
  delete(id: string): Promise<void>
}

/** @param serverOf the declared server of a name, where there is one */
export function createRegistrations(
  context: OAuthContext,
  serverOf: (name: string) => Server | undefined,
): Registrations {
  const { registrations } = context.records

  /** Finds it again under its lease: the token that was read before may have been rotated. */
  async function withRegistration<T>(
    id: string,
    work: (key: string, held: MaybeOpened<Registration>) => Promise<T>,
    read = registrations.get,
  ): Promise<T> {
    for await (const { key, value } of registrations.listBare()) {
      if (idOf(key) !== id) continue
      return withRegistrationLease(context, value, async () => {
        const held = await read(key)
        if (held === undefined) throw notFound(id)
        return work(key, held)
      })
    }
    throw notFound(id)
  }

  return {
    async list() {
      const opened = new Map<string, Registration>()
      for await (const { key, value } of registrations.list()) opened.set(key, value)
      const all: RegistrationInfo[] = []
      for await (const { key, value } of registrations.listBare())
        all.push(infoOf(key, opened.get(key) ?? value))
      return all
    },

    read: (id) =>
      withRegistration(id, async (key, before) => {
        const { held, remote } = await readRegistration(context, key, before)
        return { registration: infoOf(key, held.value), remote, drift: driftOf(held.value, remote) }
      }),

    update: (id, clientMetadata) =>
      withRegistration(id, async (key, before) => {
        assertChangeable(clientMetadata, before.value)
        const { held } = await replaceRegistration(context, key, before, clientMetadata, { remember: false })
        return infoOf(key, held.value)
      }),

    renew: (id) =>
      withRegistration(id, async (key, before) => {
        const renewed = await registerAgain(context, serverOf(before.value.server), key, before)
        return infoOf(key, renewed)
      }),

    delete: (id) =>
      withRegistration(
        id,
        async (key, held) => {
          // A configured client is nobody's to delete, only what is remembered of it; nor is a replaced one that its issuer has dropped.
          const { value, unopened } = held
          const isOurs = value.status !== 'configured' && (isManaged(value) || !isReplaced(key, value))
          if (unopened !== undefined) warnOfUnopened(context, held)
          else if (isOurs) await deleteRegistration(context, key, held)
          const isDeleted = await registrations.delete(key)
          if (isDeleted) emitRegistration(context, 'registration_deleted', value)
        },
        registrations.getOrBare,
      ),
  }
}

function notFound(id: string): McpDcrError {
  return new McpDcrError('registration_not_found', `There is no registration "${quoteUntrusted(id)}".`, {
    fix: 'Take the id from the list of registrations.',
  })
}

function idOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 22)
}

function infoOf(key: string, registration: Registration): RegistrationInfo {
  const { status, server, serverUrl, issuer, redirectUri, createdAt, clientId, ...more } = registration
  const { tokenEndpointAuthMethod, clientIdIssuedAt, clientSecretExpiresAt } = more
  const scope = more.registeredScope ?? more.scope
  return {
    id: idOf(key),
    status,
    server,
    serverUrl,
    issuer,
    redirectUri,
    ...(clientId !== undefined && { clientId }),
    ...(tokenEndpointAuthMethod !== undefined && { tokenEndpointAuthMethod }),
    ...(scope !== undefined && { scope }),
    managed: isManaged(registration),
    createdAt,
    ...(clientIdIssuedAt !== undefined && { clientIdIssuedAt }),
    ...(clientSecretExpiresAt !== undefined && { clientSecretExpiresAt }),
  }
}

const NOT_CHANGEABLE = [
  'client_id', 'client_secret', 'client_secret_expires_at', 'client_id_issued_at', 'registration_access_token',
  'registration_client_uri', 'software_statement',
] // prettier-ignore

function assertChangeable(
  clientMetadata: unknown,
  { server, redirectUri, clientSecret }: Registration,
): void {
  const refuse = (message: string): never => {
    throw new McpDcrError('invalid_request', message, {
      server,
      fix: 'Send an object of client metadata by their names in RFC 7591 §2, such as {"logo_uri": "https://…"}.',
    })
  }
  if (typeof clientMetadata !== 'object' || clientMetadata === null || Array.isArray(clientMetadata)) {
    return refuse('The client metadata is not an object.')
  }
  if (Object.keys(clientMetadata).length === 0) return refuse('The client metadata is empty.')
  const fixed = NOT_CHANGEABLE.find((name) => name in clientMetadata)
  if (fixed !== undefined) return refuse(`${fixed} is the issuer’s own and cannot be changed.`)
  const {
    redirect_uris: uris,
    token_endpoint_auth_method: method,
    ...more
  } = clientMetadata as Record<string, unknown>
  if (method !== undefined) {
    const isPossible =
      method === 'none' ||
      ((method === 'client_secret_basic' || method === 'client_secret_post') && clientSecret !== undefined)
    if (!isPossible)
      return refuse('token_endpoint_auth_method has to be none, or one for which the client has a secret.')
  }
  for (const [member, needed] of [
    ['grant_types', 'authorization_code'],
    ['response_types', 'code'],
  ] as const) {
    const value = more[member]
    if (value !== undefined && !(Array.isArray(value) && value.includes(needed)))
      return refuse(`${member} has to hold ${needed}, or sign-ins would fail.`)
  }
  if (more['scope'] === null)
    return refuse('scope cannot be removed: a client without one may ask for nothing.')
  if (uris !== undefined && !(Array.isArray(uris) && uris.includes(redirectUri))) {
    return refuse(`redirect_uris has to hold ${redirectUri}, or sign-ins would fail.`)
  }
}

/** The members that the gateway asked for, where the issuer says neither that nor what it made of them at first. */
function driftOf(
  { metadata = {}, substituted = {}, scope, leftOut }: Registration,
  remote: Record<string, unknown>,
): RegistrationDrift[] {
  const held: Record<string, unknown> = { ...metadata, ...(scope !== undefined && { scope }) }
  const isAsIs = (member: string): boolean =>
    [held, substituted].some(
      (known) => Object.hasOwn(known, member) && comparable(known[member]) === comparable(remote[member]),
    )
  return Object.keys(held)
    .filter((member) => member !== 'software_statement' && member !== leftOut && !isAsIs(member))
    .map((member) => ({ member, held: substituted[member] ?? held[member], remote: remote[member] }))
}
