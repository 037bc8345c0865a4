import type { Request } from 'express'
import type { PendingFlow } from '../model.js'
import { registrationKey } from '../store/records.js'
import { baseUrlOf } from './base-url.js'
import type { GatewayContext } from './context.js'

/** A sign-in that has not come back, or whose client was refused, and its registration. */
export interface LostFlow {
  readonly flow: PendingFlow
  /** Of its registration. */
  readonly key: string
}

/**
 * A user's sign-in to a server that has not come back to this browser, where registering again could help: a
 * provider that has dropped the client says so on its own page alone (SPEC 45), or sends the person back with that.
 * Undefined where the client is not a dynamically registered one, or another one by now, or somebody had it made
 * again within the last ten minutes.
 */
export async function findLostFlow(
  { config, cookies, oauth }: GatewayContext,
  req: Request,
  user: string,
  server: string,
): Promise<LostFlow | undefined> {
  for (const flow of await cookies.all(req, baseUrlOf(config, req))) {
    if (flow.user !== user || flow.server !== server || flow.clientSource !== 'dynamic') continue
    const key = registrationKey(server, flow.authorizationServer.issuer, flow.redirectUri)
    const held = (await oauth.records.registrations.getOrBare(key))?.value
    if (held?.clientId !== flow.clientId) continue
    // Each may leave a client behind.
    if ((await oauth.notes.recent('registered_again', key)).length === 0) return { flow, key }
  }
  return undefined
}
