import { describe, expect, it } from 'vitest'
import {
  bareHost,
  isLoopbackHost,
  isWithinReach,
  parseAllowList,
  reachOf,
  type Reach,
} from '../../src/security/network.js'

const REACHES: readonly Reach[] = ['public', 'private', 'loopback']

/** The host of a URL as it is written, in the form that a dial sees. */
function dialed(host: string): string {
  return bareHost(new URL(`http://${host}/`).hostname)
}

describe('an address', () => {
  const everyone = REACHES
  const nobody: Reach[] = []

  it.each<[string, readonly Reach[]]>([
    ['8.8.8.8', everyone],
    ['[2606:4700:4700::1111]', everyone],
    ['[::ffff:8.8.8.8]', everyone],
    ['[64:ff9b::8.8.8.8]', everyone],

    ['127.0.0.1', ['loopback']],
    ['127.255.255.254', ['loopback']],
    ['2130706433', ['loopback']],
    ['0x7f000001', ['loopback']],
    ['017700000001', ['loopback']],
    ['0177.0.0.1', ['loopback']],
    ['127.1', ['loopback']],
    ['[::1]', ['loopback']],
    ['[0:0:0:0:0:0:0:1]', ['loopback']],
    ['[::ffff:127.0.0.1]', ['loopback']],
    ['[::ffff:7f00:1]', ['loopback']],

    ['10.0.0.1', ['private']],
    ['0x0a.0.0.1', ['private']],
    ['172.16.0.1', ['private']],
    ['172.31.255.255', ['private']],
    ['192.168.1.1', ['private']],
    ['[fd00::]', ['private']],
    ['[fc00::1]', ['private']],
    ['[::ffff:10.0.0.1]', ['private']],

    ['0.0.0.0', nobody],
    ['0.1.2.3', nobody],
    ['100.64.0.1', nobody],
    ['100.127.255.255', nobody],
    ['169.254.169.254', nobody],
    ['0xa9fea9fe', nobody],
    ['192.0.0.192', nobody],
    ['192.0.2.1', nobody],
    ['198.18.0.1', nobody],
    ['224.0.0.1', nobody],
    ['240.0.0.1', nobody],
    ['255.255.255.255', nobody],
    ['[::]', nobody],
    ['[::7f00:1]', nobody],
    ['[::a00:1]', nobody],
    ['[::ffff:169.254.169.254]', nobody],
    ['[::ffff:0:127.0.0.1]', nobody],
    ['[64:ff9b::7f00:1]', nobody],
    ['[64:ff9b::10.0.0.1]', nobody],
    ['[64:ff9b::169.254.169.254]', nobody],
    ['[64:ff9b:1::8.8.8.8]', nobody],
    ['[fe80::1]', nobody],
    ['[fec0::1]', nobody],
    ['[ff02::1]', nobody],
    ['[2002:7f00:1::]', nobody],
    ['[2001::1]', nobody],
    ['[2001:db8::1]', nobody],
    ['[100::1]', nobody],
    ['[4000::1]', nobody],
    ['[3fff::1]', nobody],
    ['[5f00::1]', nobody],
    ['[2001:0:4136:e378:8000:63bf:3fff:fdd2]', nobody],
    ['[2002:808:808::1]', nobody],
    ['[64:ff9b:1::7f00:1]', nobody],
    ['[64:ff9b:1:ffff:ffff:ffff:808:808]', nobody],
    ['[64:ff9b::1:808:808]', nobody],
    ['192.88.99.1', nobody],
    ['198.51.100.1', nobody],
    ['203.0.113.1', nobody],

    // The metadata services of clouds, where a machine's own credentials are; some have private or public addresses.
    ['100.100.100.200', nobody],
    ['168.63.129.16', nobody],
    ['[::ffff:168.63.129.16]', nobody],
    ['[64:ff9b::168.63.129.16]', nobody],
    ['[fd00:ec2::254]', nobody],
    ['[fd00:ec2::23]', nobody],
    ['[fd20:ce::254]', nobody],
    ['[fd00:c1::a9fe:a9fe]', nobody],
    ['[fd00:42::42]', nobody],
    ['[fd00:a9fe:a9fe::1]', nobody],
    ['[fd00:100::100:200]', nobody],
    ['168.63.129.17', everyone],
    ['[fd00:ec3::254]', ['private']],
  ])('%s is within the reach of %j', (host, expected) => {
    expect(REACHES.filter((reach) => isWithinReach(dialed(host), reach))).toEqual(expected)
  })

  it.each(['fe80::1%eth0', 'fe80::1%br-lan', 'localhost', '', '1.2.3', '1.2.3.4.5', '8.8.8.8 '])(
    'what is no address, or has a zone, leads nowhere: "%s"',
    (address) => {
      expect(REACHES.filter((reach) => isWithinReach(address, reach))).toEqual([])
    },
  )
})

describe('a host is loopback by its own words', () => {
  it.each<[string, boolean]>([
    ['localhost', true],
    ['LocalHost', true],
    ['localhost.', true],
    ['sub.localhost', true],
    ['sub.localhost.', true],
    ['127.0.0.1', true],
    ['2130706433', true],
    ['[::1]', true],
    ['[::ffff:127.0.0.1]', true],
    ['localhost.example.com', false],
    ['notlocalhost', false],
    ['127.0.0.1.nip.io', false],
    ['0.0.0.0', false],
    ['[::]', false],
    ['[::7f00:1]', false],
    ['[64:ff9b::7f00:1]', false],
    ['10.0.0.1', false],
    ['example.com', false],
  ])('%s: %s', (host, expected) => {
    expect(isLoopbackHost(new URL(`http://${host}/`).hostname)).toBe(expected)
    expect(isLoopbackHost(dialed(host))).toBe(expected)
  })
})

describe('the reach of a declared server', () => {
  it.each<[string, Reach]>([
    ['https://mcp.example.com/mcp', 'public'],
    ['https://8.8.8.8', 'public'],
    ['https://intranet', 'public'],
    ['https://100.64.0.1', 'public'],
    ['https://169.254.169.254', 'public'],
    ['https://0.0.0.0', 'public'],
    ['https://[fd00:ec2::254]', 'public'],
    ['https://10.1.2.3/mcp', 'private'],
    ['https://[fd00::1]', 'private'],
    ['http://localhost:3000', 'loopback'],
    ['http://sub.localhost.', 'loopback'],
    ['http://127.0.0.1', 'loopback'],
    ['http://[::1]:3000', 'loopback'],
  ])('%s: %s', (url, reach) => {
    expect(reachOf(url)).toBe(reach)
  })
})

describe('an allow-list of', () => {
  const address = (entry: string, it: string): boolean => parseAllowList([entry]).allowsAddress(it)
  const host = (entry: string, it: string): boolean => parseAllowList([entry]).allowsHost(it)

  it.each<[string, string, boolean]>([
    ['10.1.2.3', '10.1.2.3', true],
    ['fd00:ec2::254', 'fd00:ec2::254', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['10.1.2.3', '::ffff:10.1.2.3', true],
    ['10.1.0.0/16', '10.1.255.255', true],
    ['10.1.0.0/16', '10.2.0.0', false],
    ['10.1.0.0/16', '::ffff:10.1.0.1', true],
    ['10.1.2.3/32', '10.1.2.3', true],
    ['10.1.2.3/0', '8.8.8.8', true],
    ['10.1.2.3/0', 'fd00::1', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['fd00::1', 'fd00::1', true],
    ['[fd00::1]', 'fd00:0::1', true],
    ['::ffff:10.1.2.3', '10.1.2.3', true],
    ['::ffff:10.1.0.0/112', '10.1.2.3', true],
    ['::ffff:10.1.0.0/112', '10.2.2.3', false],
    ['intranet.example', '10.1.2.3', false],
    ['10.0.0.0/8', 'nonsense', false],
  ])('%s allows the address %s: %s', (entry, it, expected) => {
    expect(address(entry, it)).toBe(expected)
  })

  it.each<[string, string, boolean]>([
    ['auth.intranet', 'auth.intranet', true],
    ['Auth.Intranet', 'auth.intranet', true],
    ['auth.intranet.', 'auth.intranet', true],
    ['auth.intranet', 'auth.intranet.', true],
    ['größe.example', 'xn--gre-6ka8i.example', true],
    ['auth_1.intranet', 'auth_1.intranet', true],
    ['auth.intranet', 'sub.auth.intranet', false],
    ['auth.intranet', 'intranet', false],
    ['10.1.2.3', 'auth.intranet', false],
  ])('%s allows the host %s: %s', (entry, it, expected) => {
    expect(host(entry, it)).toBe(expected)
  })

  it.each([
    'https://auth.intranet', 'auth.intranet/24', 'auth.intranet:8443', '*.intranet', 'a b', '', '/8',
    '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', '10.0/8', '010.0.0.0/8', 'fd00::/129', '::ffff:10.0.0.0/95',
    'user@auth.intranet', 'auth.intranet?', '[fd00::1]:80',
  ])('"%s" is refused', (entry) => {
    expect(() => parseAllowList([entry])).toThrow()
  }) // prettier-ignore
})
