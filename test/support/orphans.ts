import type { McpDcr } from '../../src/index.js'

/** What each gateway of this test file held when it closed, by its store: the issuer and id of every client. */
const heldByStore = new Map<string, { issuer: string; clientId: string }[]>()

/** Notes a gateway's registrations before it closes. */
export async function noteRegistrations(store: string, { registrations }: McpDcr): Promise<void> {
  const held = (await registrations.list()).flatMap(({ status, issuer, clientId }) =>
    status === 'registered' && clientId !== undefined ? [{ issuer, clientId }] : [],
  )
  heldByStore.set(store, held)
}

/**
 * Whether an authorization server that closes knows the clients that gateways hold, and no others. Not in files
 * without gateways, which register clients of their own.
 *
 * @param known the ids of its dynamically registered clients
 * @param dropped those that a test had it forget without telling anyone
 */
export function assertNoOrphans(issuer: string, known: Iterable<string>, dropped: ReadonlySet<string>): void {
  if (heldByStore.size === 0) return
  const held = [...heldByStore.values()]
    .flat()
    .filter((it) => it.issuer === issuer && !dropped.has(it.clientId))
    .map(({ clientId }) => clientId)
  const [here, there] = [new Set(held), new Set(known)]
  const orphans = [...there].filter((id) => !here.has(id))
  const ghosts = [...here].filter((id) => !there.has(id))
  if (orphans.length + ghosts.length === 0) return
  throw new Error(
    `${issuer} and the gateways disagree about clients: ${orphans.length} that no gateway holds, ${ghosts.length} that it does not know`,
  )
}
