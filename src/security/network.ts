import ipaddr from 'ipaddr.js'
import { isIP } from 'node:net'

/** How private a network a request may lead to: that of the declared server itself. */
export type Reach = 'public' | 'private' | 'loopback'

type Kind = Reach | 'forbidden'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** An IP address in its usual forms; an IPv4-mapped one is its IPv4 address. Undefined for anything else. */
function parseAddress(address: string): Address | undefined {
  // ipaddr.js knows fewer zone ids than the operating system does, and more forms of IPv4 (octal, short).
  const [withoutZone = ''] = address.split('%')
  return isIP(withoutZone) === 0 ? undefined : ipaddr.process(withoutZone)
}

/** How private the network of an IP address is. Whatever is neither public, private nor loopback is forbidden. */
function kindOf(address: string): Kind {
  const parsed = parseAddress(address)
  if (parsed === undefined || isCloudService(parsed)) return 'forbidden'
  const range: string = parsed.range()
  if (range === 'loopback' || range === 'private') return range
  if (range === 'uniqueLocal') return 'private'
  const isPublic = range === 'rfc6052' ? leadsToPublic(parsed) : range === 'unicast' && isGlobal(parsed)
  return isPublic ? 'public' : 'forbidden'
}

/**
 * Where clouds answer their own machines, credentials included, at addresses that are private or public by
 * themselves; all others of them are link-local, or shared (RFC 6598).
 */
const CLOUD_SERVICES = [
  '168.63.129.16/32',
  'fd00:ec2::/32',
  'fd20:ce::254/128',
  'fd00:c1::a9fe:a9fe/128',
  'fd00:100::100:200/128',
  'fd00:42::42/128',
  'fd00:a9fe:a9fe::1/128',
].map((range) => ipaddr.parseCIDR(range))

function isCloudService(address: Address): boolean {
  return ipaddr.subnetMatch(address, { cloud: CLOUD_SERVICES }, '') === 'cloud'
}

const NAT64_PREFIX = ipaddr.parseCIDR('64:ff9b::/96')

/**
 * NAT64: the last 32 bits are an IPv4 address, which must be a public one (RFC 6052 §2.1, §3.1). In other
 * prefixes (RFC 8215) the IPv4 address may lie elsewhere.
 */
function leadsToPublic(address: Address): boolean {
  return address.match(NAT64_PREFIX) && kindOf(address.toByteArray().slice(-4).join('.')) === 'public'
}

/** ipaddr.js counts as unicast what nobody has been given, and IPv4-compatible addresses (::7f00:1); global is 2000::/3. */
function isGlobal(address: Address): boolean {
  return address.kind() === 'ipv4' || ((address.toByteArray()[0] ?? 0) & 0xe0) === 0x20
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

/** @throws Error for an entry that is neither a host, an address nor a CIDR range */
export function parseAllowList(entries: readonly string[]): AllowList {
  const hosts = new Set<string>()
  const ranges: [Address, number][] = []
  for (const entry of entries) {
    const range = parseRange(entry)
    if (range === undefined) hosts.add(hostOf(entry))
    else ranges.push(range)
  }
  return {
    allowsHost: (host) => hosts.has(withoutDot(bareHost(host).toLowerCase())),
    allowsAddress: (address) => {
      const parsed = parseAddress(address)
      return ranges.some(
        ([range, bits]) => parsed?.kind() === range.kind() && parsed.match([range, bits] as never),
      )
    },
  }
}

function parseRange(entry: string): [Address, number] | undefined {
  const match = /^([^/]*?)(?:\/(\d{1,3}))?$/.exec(entry.trim())
  const [, host = '', length] = match ?? []
  const written = bareHost(host)
  const address = parseAddress(written)
  if (address === undefined) return undefined
  const [writtenBits, bits] = [isIP(written) === 4 ? 32 : 128, address.kind() === 'ipv4' ? 32 : 128]
  // An IPv4-mapped range is written with 96 bits more than its IPv4 range has.
  const prefix = Number(length ?? writtenBits) - (writtenBits - bits)
  if (prefix < 0 || prefix > bits) throw new Error('not a CIDR range')
  return [address, prefix]
}

/** A host name as URLs have it: lower case, punycode. */
function hostOf(entry: string): string {
  const url = `https://${entry.trim()}/`
  const host = /[/\\?#@:]/.test(entry) || !URL.canParse(url) ? '' : new URL(url).hostname
  if (!/^[\w.-]+$/.test(host)) throw new Error('not a host')
  return withoutDot(host)
}

function withoutDot(host: string): string {
  return host.replace(/\.$/, '')
}
