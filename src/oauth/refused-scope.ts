import type { Connection, PendingFlow } from '../model.js'
import { connectionKey } from '../store/records.js'
import { scopeList } from './choose-scope.js'
import { withConnectionLease } from './connection-lease.js'
import type { OAuthContext } from './context.js'

/** How many refusals of one user at one server are remembered. */
const MAX_REFUSALS = 20

/**
 * Remembers that the person, or their administrator, refused what a step-up asked for (SPEC 40): on the
 * connection, which lives on without it. Under the lease of a refresh, whose rotated token would be lost where the
 * record changes meanwhile.
 *
 * @throws McpDcrError what the store throws
 */
export async function rememberRefusal(context: OAuthContext, flow: PendingFlow): Promise<void> {
  const { demandedScope } = flow
  if (demandedScope === undefined) return
  const key = connectionKey(flow.user, flow.server)
  const { connections } = context.records
  await withConnectionLease(context, key, async () => {
    const held = await connections.get(key)
    if (held === undefined || !isOfSameIssuer(held.value, flow)) return
    const others = held.value.refusedScopes?.filter((scope) => scope !== demandedScope) ?? []
    const refusedScopes = [...others, demandedScope].slice(-MAX_REFUSALS)
    await connections.save(key, held, { ...held.value, refusedScopes })
  })
}

/**
 * Whether what is wanted includes all that was refused at once. Scopes are not judged one by one: of two that were
 * refused together, one alone may be welcome.
 */
export function isRefused({ refusedScopes = [] }: Connection, wanted: readonly string[]): boolean {
  return refusedScopes.some((refused) => isCovered(refused, wanted))
}

/** The connection of a step-up, with what was refused before it and is not granted now. */
export function withRefusals(connection: Connection, before: Connection | undefined): Connection {
  if (before?.refusedScopes === undefined || !isOfSameIssuer(before, connection)) return connection
  const granted = scopeList(connection.scope)
  const refusedScopes = before.refusedScopes.filter((refused) => !isCovered(refused, granted))
  return refusedScopes.length === 0 ? connection : { ...connection, refusedScopes }
}

function isCovered(scope: string, by: readonly string[]): boolean {
  return scopeList(scope).every((token) => by.includes(token))
}

type Held = Pick<Connection, 'serverUrl' | 'authorizationServer'>

/** Scopes are an issuer's own. */
function isOfSameIssuer(a: Held, b: Held): boolean {
  return a.serverUrl === b.serverUrl && a.authorizationServer.issuer === b.authorizationServer.issuer
}
