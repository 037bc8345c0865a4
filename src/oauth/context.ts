import type { BoundedMap } from '../bounded-map.js'
import type { Logger, Registration, Server } from '../model.js'
import type { ProviderOf } from '../providers/provider-lookup.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'
import type { Leases } from '../store/lease.js'
import type { Records } from '../store/records.js'
import type { Discover } from './discover.js'
import type { Emit } from './events.js'
import type { Failures } from './failures.js'
import type { BegunRegistration } from './met-issuers.js'
import type { RegistrationPause } from './registration-pauses.js'
import type { RegistrationNotes } from './registration-notes.js'
import type { IsTrusted } from './trusted-issuer.js'

/** What the protocol's steps share; one per `mcpDcr()`. */
export interface OAuthContext {
  readonly clientName: string
  readonly clientMetadataUrl: string | undefined
  readonly records: Records
  readonly leases: Leases
  readonly discover: Discover
  /** Called once a change is stored. */
  readonly emit: Emit
  readonly failures: Failures
  readonly providerOf: ProviderOf
  readonly isTrusted: IsTrusted
  readonly notes: RegistrationNotes
  /** The first registrations of a declared MCP server, or of all undeclared upstreams, at an issuer that were begun. */
  readonly newIssuers: BoundedMap<string, readonly BegunRegistration[]>
  /** After registrations that have failed, or too many. */
  readonly registrationPauses: BoundedMap<string, RegistrationPause>
  readonly fetch: GuardedFetch
  readonly reachOf: (server: Server) => Reach
  /** That of the MCP server of a registration, which may not be declared any more. */
  readonly reachOfRegistration: (registration: Registration) => Reach
  /** The bound of one outgoing request, in milliseconds: leases last longer. */
  readonly timeout: number
  readonly clock: () => number
  readonly logger: Logger
}
