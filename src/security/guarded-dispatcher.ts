import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import type { Agent } from 'undici'
import { McpDcrError } from '../errors.js'
import { undici } from '../modules.js'
import { bareHost, isLoopbackHost, isWithinReach, type AllowList, type Reach } from './network.js'

/** Resolves a name to all its addresses; `node:dns`' own by default. */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/**
 * An undici agent that judges the address at the dial. Checking the URL before, and dialing after a second
 * lookup, would leave the gap that DNS rebinding uses; here the address that was judged is the one dialed.
 */
export async function createGuardedAgent(
  reach: Reach,
  allowed: AllowList,
  resolve: Resolve = dnsLookup,
): Promise<Agent> {
  const { Agent, buildConnector } = await undici()
  const connect = buildConnector({ lookup: guardedLookup(reach, allowed, resolve) })
  return new Agent({
    connect(options, callback) {
      // A lookup function is never called for IP literals.
      const host = bareHost(options.hostname)
      if (isIP(host) !== 0 && !isAllowed(host, host, reach, allowed)) callback(blocked(host), null)
      else connect(options, callback)
    },
  })
}

function guardedLookup(reach: Reach, allowed: AllowList, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, [])
        return
      }
      const permitted = addresses.filter(({ address }) => isAllowed(hostname, address, reach, allowed))
      const [first] = permitted
      if (first === undefined) callback(blocked(hostname), [])
      else if (options.all === true) callback(null, permitted)
      else callback(null, first.address, first.family)
    })
  }
}

function isAllowed(host: string, address: string, reach: Reach, allowed: AllowList): boolean {
  // http is allowed to these names, so they never lead off this machine, whatever DNS says (RFC 6761 §6.3).
  if (isLoopbackHost(host) && !isLoopbackHost(address)) return false
  return isWithinReach(address, reach) || allowed.allowsHost(host) || allowed.allowsAddress(address)
}

function blocked(host: string): McpDcrError {
  return new McpDcrError(
    'blocked_address',
    `${host} is on a network that this server’s metadata may not lead to.`,
    {
      fix: 'If it is meant to be reached, add the host to the allowPrivateNetworks option.',
    },
  )
}
