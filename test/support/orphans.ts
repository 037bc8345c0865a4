import type { McpDcr } from '../../src/index.js'

/** A client that is held here, as its issuer knows it. */
interface HeldClient {
  readonly issuer: string
  readonly clientId?: string | undefined
  /** Others are no live registrations. */
  readonly status: string
}

/** What is held in this test file: at each store by the gateway that closed last, and by whatever holds a store of its own. */
const heldByStore = new Map<string, readonly HeldClient[]>()
const holders: (() => Promise<readonly HeldClient[]>)[] = []

/** Begins anew, with each test file. */
export function forgetHeld(): void {
  heldByStore.clear()
  holders.length = 0
}

/** Notes a gateway's registrations before it closes. */
export async function noteRegistrations(store: string, { registrations }: McpDcr): Promise<void> {
  heldByStore.set(store, await registrations.list())
}

/** Counts what this holds whenever an authorization server closes. */
export function countRegistrationsOf(holder: () => Promise<readonly HeldClient[]>): void {
  holders.push(holder)
}

/**
 * Whether an authorization server that closes knows the clients that are held, and no others.
 *
 * @param known the ids of its dynamically registered clients
 * @param strays those that a test has left with one side alone
 */
export async function assertNoOrphans(
  issuer: string,
  known: Iterable<string>,
  strays: ReadonlySet<string>,
): Promise<void> {
  const all = [...heldByStore.values(), ...(await Promise.all(holders.map((holder) => holder())))].flat()
  const here = new Set(
    all.flatMap((it) =>
      it.status === 'registered' && it.issuer === issuer && it.clientId !== undefined ? [it.clientId] : [],
    ),
  )
  const there = new Set(known)
  const orphans = [...there].filter((id) => !here.has(id) && !strays.has(id))
  const ghosts = [...here].filter((id) => !there.has(id) && !strays.has(id))
  if (orphans.length + ghosts.length === 0) return
  throw new Error(
    `${issuer} and the gateways disagree about clients: ${orphans.length} that no gateway holds, ${ghosts.length} that it does not know`,
  )
}
