import ipaddr from 'ipaddr.js'
import { isIP } from 'node:net'

/** How private a network a request may lead to: that of the declared server itself. */
export type Reach = 'public' | 'private' | 'loopback'

type Kind = Reach | 'forbidden'

/** How private the network of an IP address is. Whatever is neither public, private nor loopback is forbidden. */
function kindOf(address: string): Kind {
  const parsed = ipaddr.process(address)
  const range: string = parsed.range()
  if (range === 'loopback' || range === 'private') return range
  if (range === 'uniqueLocal') return 'private'
  if (range === 'rfc6052') return kindOf(embeddedIPv4(parsed))
  // ipaddr.js counts the deprecated IPv4-compatible form (::7f00:1) as unicast.
  if (range !== 'unicast' || isIPv4Compatible(parsed)) return 'forbidden'
  return 'public'
}

/** The IPv4 address inside a NAT64 address, its last 32 bits (RFC 6052 §2.2). */
function embeddedIPv4(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address.toByteArray().slice(-4).join('.')
}

function isIPv4Compatible(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return (
    address.kind() === 'ipv6' &&
    address
      .toByteArray()
      .slice(0, 12)
      .every((byte) => byte === 0)
  )
}

/** Whether a request of this reach may go to an address of that kind (DESIGN: network safety). */
export function isWithinReach(address: string, reach: Reach): boolean {
  const kind = kindOf(address)
  return kind === 'public' || kind === reach
}

/** A host name as an IP literal or a name, without the brackets of IPv6. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}

/** Whether a URL's host is loopback by its own words: `localhost`, a name below it, or a loopback address. */
export function isLoopbackHost(hostname: string): boolean {
  const host = bareHost(hostname).replace(/\.$/, '').toLowerCase()
  if (host === 'localhost' || host.endsWith('.localhost')) return true
  return isIP(host) !== 0 && kindOf(host) === 'loopback'
}

/**
 * The reach of a declared server's URL, by its host. A name other than `localhost` counts as public: a
 * server on the intranet whose authorization server is there too needs `allowPrivateNetworks`.
 */
export function reachOf(url: string): Reach {
  const host = bareHost(new URL(url).hostname)
  if (isLoopbackHost(host)) return 'loopback'
  const kind = isIP(host) === 0 ? 'public' : kindOf(host)
  return kind === 'forbidden' ? 'public' : kind
}

/** The option `allowPrivateNetworks`, made ready: hosts, addresses and CIDR ranges. */
export interface AllowList {
  allowsHost(host: string): boolean
  allowsAddress(address: string): boolean
}

/** @throws Error for an entry with a slash that is no CIDR range */
export function parseAllowList(entries: readonly string[]): AllowList {
  const hosts = new Set<string>()
  const ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] = []
  for (const entry of entries) {
    const bare = bareHost(entry)
    if (bare.includes('/')) ranges.push(ipaddr.parseCIDR(bare))
    else if (isIP(bare) !== 0) ranges.push(ipaddr.parseCIDR(`${bare}/${isIP(bare) === 4 ? 32 : 128}`))
    else hosts.add(bare.toLowerCase())
  }
  return {
    allowsHost: (host) => hosts.has(bareHost(host).toLowerCase()),
    allowsAddress: (address) => {
      const parsed = ipaddr.process(address)
      return ranges.some(
        ([range, bits]) => parsed.kind() === range.kind() && parsed.match([range, bits] as never),
      )
    },
  }
}
