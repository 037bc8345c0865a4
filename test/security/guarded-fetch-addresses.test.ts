import { describe, expect, it } from 'vitest'
import type { McpDcrError } from '../../src/errors.js'
import type { Resolve } from '../../src/security/guarded-dispatcher.js'
import { createGuardedFetch, type GuardedFetchOptions, type Reach } from '../../src/security/guarded-fetch.js'
import { answering, failure, hasIPv6, serve } from './fetch-support.js'

function guarded(options: Partial<GuardedFetchOptions> = {}) {
  return createGuardedFetch({ timeout: 10_000, allowPrivateNetworks: [], ...options })
}

function expectBlocked(error: McpDcrError, host: string): void {
  expect([error.code, error.message]).toEqual([
    'blocked_address',
    `${host} is on a network that this server’s metadata may not lead to.`,
  ])
  expect(error.fix).toContain('allowPrivateNetworks')
}

describe('no connection is made', () => {
  // Every form leads to the server that listens here; https, which is judged by the address alone.
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['017700000001', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['[::ffff:127.0.0.1]', '::ffff:7f00:1'],
    ['0.0.0.0', '0.0.0.0'],
    ['0', '0.0.0.0'],
    ['localhost', 'localhost'],
    ['localhost.', 'localhost.'],
    ['sub.localhost', 'sub.localhost'],
  ])('from a public or private server to %s', async (host, shown) => {
    const { port, connections } = await serve((_req, res) => res.end('{}'))
    const fetch = guarded({ resolve: answering(['127.0.0.1']) })
    for (const reach of ['public', 'private'] as const) {
      expectBlocked(await failure(fetch(`https://${host}:${port}/`, undefined, reach)), shown)
    }
    expect(connections()).toBe(0)
  })

  it.runIf(hasIPv6)('from a public server to [::1], nor by http', async () => {
    const { port, connections } = await serve((_req, res) => res.end('{}'), '::1')
    expectBlocked(await failure(guarded()(`http://[::1]:${port}/`, undefined, 'public')), '::1')
    expect(connections()).toBe(0)
  })

  // Nothing listens there: that the error is blocked_address shows that none was dialed.
  it.each<[string, Reach[]]>([
    ['10.0.0.1', ['public', 'loopback']],
    ['192.168.0.1', ['public', 'loopback']],
    ['[fd00::]', ['public', 'loopback']],
    ['169.254.169.254', ['public', 'private', 'loopback']],
    ['100.64.0.1', ['public', 'private', 'loopback']],
    ['0.0.0.0', ['public', 'private', 'loopback']],
    ['[::]', ['public', 'private', 'loopback']],
    ['[::7f00:1]', ['public', 'private', 'loopback']],
    ['[64:ff9b::7f00:1]', ['public', 'private', 'loopback']],
    ['[fe80::1]', ['public', 'private', 'loopback']],
    ['[fd00:ec2::254]', ['public', 'private', 'loopback']],
    ['168.63.129.16', ['public', 'private', 'loopback']],
    ['[64:ff9b:1::a9fe:a9fe]', ['public', 'private', 'loopback']],
    ['[2002:7f00:1::]', ['public', 'private', 'loopback']],
    ['[2001:0:7f00:1::]', ['public', 'private', 'loopback']],
  ])('to %s from %j', async (host, reaches) => {
    for (const reach of reaches) {
      // As a literal, and as what a name resolves to.
      const literal = host.replace(/[[\]]/g, '')
      expectBlocked(await failure(guarded()(`https://${host}/`, undefined, reach)), literal)
      const fetch = guarded({ resolve: answering([literal]) })
      expectBlocked(await failure(fetch('https://auth.example.com/', undefined, reach)), 'auth.example.com')
    }
  })

  it.each([
    'http://auth.example.com/',
    'http://10.0.0.1/',
    'file:///etc/passwd',
    'https://user:pass@auth.example.com/',
  ])('to %s, which is no URL for us', async (url) => {
    const resolve = answering(['127.0.0.1'])
    expect((await failure(guarded({ resolve })(url, undefined, 'loopback'))).code).toBe('insecure_url')
    expect(resolve.names).toEqual([])
  })

  // What a resolver says that is broken, or in somebody else's hands.
  it.each([
    ['no address', ['']],
    ['a name', ['localhost']],
    ['a short form', ['127.1']],
    ['a number', ['2130706433']],
    ['an octal form', ['0177.0.0.1']],
    ['a zone', ['::1%lo']],
    ['an address with a port', ['127.0.0.1:443']],
  ])('where the resolver answers %s', async (_, addresses) => {
    const fetch = guarded({ resolve: answering(addresses) })
    for (const reach of ['public', 'private'] as const) {
      expectBlocked(await failure(fetch('https://auth.example.com/', undefined, reach)), 'auth.example.com')
    }
  })

  it.each(['ENOTFOUND', 'EAI_AGAIN', 'ESERVFAIL', 'ETIMEOUT'])(
    'where the resolver fails with %s, even beside addresses',
    async (code) => {
      const { port, connections } = await serve((_req, res) => res.end('{}'))
      const resolve: Resolve = (_name, _options, callback) =>
        callback(Object.assign(new Error('no answer'), { code }), [{ address: '127.0.0.1', family: 4 }])
      const error = await failure(
        guarded({ resolve })(`http://auth.localhost:${port}/`, undefined, 'loopback'),
      )
      expect(error.code).toBe('request_failed')
      expect(connections()).toBe(0)
    },
  )

  it('where the resolver throws, or never answers', async () => {
    const broken: Resolve = () => {
      throw new Error('out of order')
    }
    const url = 'https://auth.example.com/'
    expect((await failure(guarded({ resolve: broken })(url, undefined, 'public'))).code).toBe(
      'request_failed',
    )
    const silent = guarded({ resolve: () => undefined, timeout: 50 })
    expect((await failure(silent(url, undefined, 'public'))).code).toBe('request_timeout')
  })

  it('to a name without addresses', async () => {
    const fetch = guarded({ resolve: answering([]) })
    expectBlocked(
      await failure(fetch('https://auth.example.com/', undefined, 'loopback')),
      'auth.example.com',
    )
  })
})

describe('the address that was judged is the one dialed', () => {
  it('a name is resolved once for each connection, so a second answer that differs is never used', async () => {
    const { port, connections } = await serve((_req, res) =>
      res.writeHead(200, { connection: 'close' }).end('{}'),
    )
    // The first answer is within reach of a loopback server, the second is not.
    const resolve = answering(['127.0.0.1'], ['10.0.0.1'])
    const fetch = guarded({ resolve })
    const url = `http://auth.localhost:${port}/`
    expect((await fetch(url, undefined, 'loopback')).status).toBe(200)
    expect([resolve.names, connections()]).toEqual([['auth.localhost'], 1])
    expectBlocked(await failure(fetch(url, undefined, 'loopback')), 'auth.localhost')
    expect([resolve.names.length, connections()]).toEqual([2, 1])
  })

  // 127.0.0.2 is allowed and stands for a public address, which no test may dial.
  it.each<[string, string[][]]>([
    [
      'a name that resolves to a public address at first and then to a private one',
      [['127.0.0.2'], ['127.0.0.1']],
    ],
    ['a name with a public and a private address', [['127.0.0.2', '127.0.0.1']]],
    ['a name with a private and a public address', [['127.0.0.1', '127.0.0.2']]],
  ])('%s: the private one is not dialed', async (_, answers) => {
    // In this order: a free port of 127.0.0.2 may be in use at 127.0.0.1, where all other tests listen.
    const closed = await serve((_req, res) => res.end('{}'), '127.0.0.1')
    const open = await serve((_req, res) => res.end('{}'), '127.0.0.2', closed.port)
    const resolve = answering(...answers)
    const fetch = guarded({ resolve, allowPrivateNetworks: ['127.0.0.2'] })
    expect((await fetch(`http://auth.localhost:${open.port}/`, undefined, 'public')).status).toBe(200)
    expect([resolve.names.length, open.connections(), closed.connections()]).toEqual([1, 1, 0])
  })

  it.each([
    [['10.0.0.1', '127.0.0.1']],
    [['127.0.0.1', '10.0.0.1']],
    [['169.254.169.254', '127.0.0.1', '::']],
  ])('of a name with several only the permitted one: %j', async (addresses) => {
    const { port, connections } = await serve((_req, res) => res.end('{}'))
    const fetch = guarded({ resolve: answering(addresses) })
    expect((await fetch(`http://auth.localhost:${port}/`, undefined, 'loopback')).status).toBe(200)
    expect(connections()).toBe(1)
  })

  it('loopback names never lead elsewhere, since http is allowed to them', async () => {
    for (const allowPrivateNetworks of [[], ['auth.localhost', '0.0.0.0/0']]) {
      const fetch = guarded({ resolve: answering(['8.8.8.8']), allowPrivateNetworks })
      expectBlocked(await failure(fetch('http://auth.localhost/', undefined, 'loopback')), 'auth.localhost')
    }
  })
})

describe('what is permitted is reached', () => {
  it.each<[string, string]>([
    ['127.0.0.1', '127.0.0.1'],
    ['localhost', '127.0.0.1'],
    ['localhost.', '127.0.0.1'],
    ['sub.localhost', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['[::ffff:127.0.0.1]', '127.0.0.1'],
    ...(hasIPv6 ? [['[::1]', '::1'] as [string, string], ['localhost', '::1'] as [string, string]] : []),
  ])('from a loopback server: %s at %s', async (host, address) => {
    const { port } = await serve((_req, res) => res.end('{}'), address)
    const fetch = guarded({ resolve: answering([address]) })
    expect((await fetch(`http://${host}:${port}/`, undefined, 'loopback')).status).toBe(200)
  })

  it('localhost by the system’s own resolver', async () => {
    const { port } = await serve((_req, res) => res.end('{}'), 'localhost')
    expect((await guarded()(`http://localhost:${port}/`, undefined, 'loopback')).status).toBe(200)
  })

  it.each([
    ['a host', 'auth.localhost', ['auth.localhost']],
    ['a host of another case', 'auth.localhost', ['AUTH.localhost.']],
    ['an address', 'auth.localhost', ['127.0.0.1']],
    ['an address, for its literal', '127.0.0.1', ['127.0.0.1']],
    ['an address, for another form of it', '[::ffff:127.0.0.1]', ['127.0.0.1']],
    ['a CIDR range', 'auth.localhost', ['192.168.0.0/16', '127.0.0.0/8']],
  ])('from a public server by the allow-list: %s', async (_, host, allowPrivateNetworks) => {
    const { port } = await serve((_req, res) => res.end('{}'))
    const fetch = guarded({ allowPrivateNetworks, resolve: answering(['127.0.0.1']) })
    expect((await fetch(`http://${host}:${port}/`, undefined, 'public')).status).toBe(200)
  })

  it.each([
    ['another host', ['other.localhost']],
    ['the domain above', ['localhost']],
    ['another address', ['127.0.0.2']],
    ['another range', ['10.0.0.0/8', '::1/128']],
  ])('but not by %s', async (_, allowPrivateNetworks) => {
    const { port, connections } = await serve((_req, res) => res.end('{}'))
    const fetch = guarded({ allowPrivateNetworks, resolve: answering(['127.0.0.1']) })
    expectBlocked(
      await failure(fetch(`http://auth.localhost:${port}/`, undefined, 'public')),
      'auth.localhost',
    )
    expect(connections()).toBe(0)
  })

  it('a connection that one reach may use is not lent to another', async () => {
    const { port, connections } = await serve((_req, res) => res.end('{}'))
    const fetch = guarded()
    const url = `http://127.0.0.1:${port}/`
    expect((await fetch(url, undefined, 'loopback')).status).toBe(200)
    expectBlocked(await failure(fetch(url, undefined, 'public')), '127.0.0.1')
    expect(connections()).toBe(1)
  })
})
