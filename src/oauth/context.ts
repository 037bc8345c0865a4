import type { Logger, Server } from '../model.js'
import type { GuardedFetch, Reach } from '../security/guarded-fetch.js'
import type { Leases } from '../store/lease.js'
import type { Records } from '../store/records.js'
import type { Discover } from './discover.js'

/** What the protocol's steps share; one per `mcpDcr()`. */
export interface OAuthContext {
  readonly clientName: string
  readonly clientMetadataUrl: string | undefined
  readonly records: Records
  readonly leases: Leases
  readonly discover: Discover
  readonly fetch: GuardedFetch
  readonly reachOf: (server: Server) => Reach
  /** The bound of one outgoing request, in milliseconds: leases last longer. */
  readonly timeout: number
  readonly clock: () => number
  readonly logger: Logger
}
