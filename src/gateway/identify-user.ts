import type { Request } from 'express'
import ipaddr from 'ipaddr.js'
import { McpDcrError } from '../errors.js'
import type { Config } from '../options.js'

/** The one user of a gateway without a `user` option. */
const LOCAL_USER = 'local'

/**
 * Whose connections a request may use; undefined where nobody is signed in. Fails closed.
 *
 * @throws McpDcrError `invalid_options` where the `user` option returns something other than a string
 */
export async function identifyUser(config: Config, req: Request): Promise<string | undefined> {
  if (config.user === undefined) return isLocal(req) ? LOCAL_USER : undefined
  const user: unknown = await config.user(req)
  if (user === undefined || user === null || user === '') return undefined
  if (typeof user === 'string') return user
  throw new McpDcrError('invalid_options', `The user option returned a ${typeof user} instead of a string.`, {
    fix: 'Return the user’s stable id as a string, or undefined where nobody is signed in.',
  })
}

/**
 * The local user is whoever sits at this machine. The address keeps out the network where the gateway
 * listens on all interfaces; the name keeps out web pages whose own host name resolves to loopback (DNS
 * rebinding).
 */
function isLocal(req: Request): boolean {
  const { remoteAddress } = req.socket
  const host = req.headers.host
  if (remoteAddress === undefined || host === undefined || !URL.canParse(`http://${host}`)) return false
  const { hostname } = new URL(`http://${host}`)
  return isLoopbackAddress(remoteAddress) && (hostname === 'localhost' || isLoopbackAddress(hostname))
}

function isLoopbackAddress(address: string): boolean {
  const bare = address.replace(/^\[|\]$/g, '')
  return ipaddr.isValid(bare) && ipaddr.process(bare).range() === 'loopback'
}
