import type { IncomingHttpHeaders } from 'node:http'
import type { Request } from 'express'
import ipaddr from 'ipaddr.js'
import { McpDcrError } from '../errors.js'
import type { Config } from '../options.js'
import { isLoopbackUrl } from '../security/guarded-fetch.js'

/** The one user of a gateway without a `user` option. */
const LOCAL_USER = 'local'

/**
 * Whose connections a request may use; undefined where nobody is signed in. Fails closed.
 *
 * @throws McpDcrError `invalid_options` where the `user` option returns something other than a string
 */
export function identifyUser(config: Config, req: Request): string | undefined | Promise<string | undefined> {
  if (config.user === undefined) return isLocal(config, req) ? LOCAL_USER : undefined
  const user: unknown = config.user(req)
  if (user === undefined || user === null || user === '') return undefined
  return typeof user === 'string' ? user : checkUser(user)
}

async function checkUser(given: unknown): Promise<string | undefined> {
  const user = await given
  if (user === undefined || user === null || user === '') return undefined
  if (typeof user === 'string') return user
  throw new McpDcrError('invalid_options', `The user option returned a ${typeof user} instead of a string.`, {
    fix: 'Return the user’s stable id as a string, or undefined where nobody is signed in.',
  })
}

/**
 * The local user is whoever sits at this machine. The address keeps out the network where the gateway listens
 * on all interfaces, and what a proxy says about its client those that came through one; the name keeps out
 * web pages whose own host name resolves to loopback (DNS rebinding), and the browser's word about where a
 * request came from all other web pages.
 */
function isLocal({ baseUrl }: Config, { socket, headers }: Request): boolean {
  const { remoteAddress } = socket
  const { host } = headers
  if (remoteAddress === undefined || host === undefined || !URL.canParse(`http://${host}`)) return false
  return (
    isLoopbackAddress(remoteAddress) &&
    isLoopbackUrl(`http://${host}`) &&
    !isForwarded(headers, baseUrl?.startsWith('https:') === true) &&
    !isOfForeignPage(headers)
  )
}

/** In which proxies and tunnels name the client. */
const CLIENT_HEADERS = ['x-forwarded-for', 'x-real-ip', 'cf-connecting-ip', 'true-client-ip']

/**
 * A tunnel or proxy on this machine brings strangers, whatever `Host` it sends. One that speaks of this machine alone
 * (a development server's, say) may stay: what it does not set itself a stranger can set, so each of its words counts.
 *
 * @param secure whether the gateway's own URL is https: else https is that of a proxy
 */
function isForwarded(headers: IncomingHttpHeaders, secure: boolean): boolean {
  if (headers.forwarded !== undefined || headers.via !== undefined) return true
  const said = (name: string): string[] => {
    const value = headers[name]
    const items = value === undefined ? [] : [value].flat().join().split(',')
    return items.map((item) => item.trim()).filter((item) => item !== '')
  }
  const schemes = secure ? ['http', 'https'] : ['http']
  return (
    CLIENT_HEADERS.flatMap(said).some((client) => !isLoopbackAddress(client)) ||
    said('x-forwarded-host').some(
      (host) => !URL.canParse(`http://${host}`) || !isLoopbackUrl(`http://${host}`),
    ) ||
    said('x-forwarded-proto').some((scheme) => !schemes.includes(scheme.toLowerCase()))
  )
}

/**
 * Whether a page of another site sent this (Fetch Metadata, `Sec-Fetch-Site`; `Origin` in browsers without it).
 * A navigation is the person's own, as the way back from the authorization server is. Pages on other ports of
 * this machine are same-site, and run by the same person.
 */
function isOfForeignPage({
  'sec-fetch-site': site,
  'sec-fetch-mode': mode,
  origin,
}: IncomingHttpHeaders): boolean {
  const isForeignOrigin = origin !== undefined && !(URL.canParse(origin) && isLoopbackUrl(origin))
  if (site === undefined) return isForeignOrigin
  return site === 'cross-site' && (mode !== 'navigate' || isForeignOrigin)
}

function isLoopbackAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback'
}
