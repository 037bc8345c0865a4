import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import type { Options } from '../../src/options.js'
import { providerProfiles } from '../../src/providers/index.js'
import { resolveOptions } from '../../src/resolve-options.js'
import { memoryStore } from '../../src/store/memory.js'
import { emptyDirectory, errorOf, resolved } from './support.js'

const KEY = 'k'.repeat(32)

describe('without options', () => {
  const absent = {
    baseUrl: undefined,
    servers: undefined,
    user: undefined,
    onAuthorizationRequired: undefined,
    onElicitationComplete: undefined,
    elicitationWait: undefined,
    admin: undefined,
    clientName: undefined,
    clientMetadataUrl: undefined,
    encryptionKey: undefined,
    store: undefined,
    allowPrivateNetworks: undefined,
    trust: undefined,
    providers: undefined,
    timeout: undefined,
    onEvent: undefined,
    logger: undefined,
    clock: undefined,
  } satisfies { [Name in keyof Required<Options>]: undefined }

  it.each([
    ['none at all', undefined],
    ['an empty object', {}],
    ['each given as undefined', absent],
  ])('every member of Config has its default: %s', (_, options) => {
    const directory = emptyDirectory()
    const config = resolveOptions(options as Options | undefined, {}, directory)
    expect(config).toEqual({
      baseUrl: undefined,
      local: true,
      servers: [],
      serversOf: expect.any(Function),
      undeclared: true,
      user: undefined,
      admin: undefined,
      clientName: 'MCP Gateway',
      clientMetadataUrl: undefined,
      encryptionKeys: undefined,
      store: join(directory, '.mcp-dcr/store.json'),
      allowPrivateNetworks: [],
      trust: undefined,
      providers: Object.values(providerProfiles),
      elicitationWait: 25_000,
      timeout: 10_000,
      onEvent: undefined,
      logger: {
        debug: expect.any(Function),
        info: expect.any(Function),
        warn: expect.any(Function),
        error: expect.any(Function),
      },
      clock: Date.now,
    })
    expect(config.serversOf({} as never)).toBe(config.servers)
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('warnings and errors go to the console, the rest nowhere', () => {
    const methods = ['debug', 'info', 'log', 'warn', 'error'] as const
    const spies = methods.map((method) => vi.spyOn(console, method).mockImplementation(() => undefined))
    try {
      const { logger } = resolved()
      logger.debug('a')
      logger.info('b')
      logger.warn('c')
      logger.error('d', { code: 'x' })
      expect(spies.map((spy) => spy.mock.calls)).toEqual([
        [],
        [],
        [],
        [['mcp-dcr: c', '']],
        [['mcp-dcr: d', { code: 'x' }]],
      ])
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
  })
})

describe('given options', () => {
  const user = () => 'alice'
  const clock = () => 5
  const store = memoryStore()

  it.each<[string, Options, object]>([
    ['baseUrl', { baseUrl: 'http://localhost:3001' }, { baseUrl: 'http://localhost:3001', local: true }],
    ['a trailing slash', { baseUrl: 'http://127.0.0.1:3001/' }, { baseUrl: 'http://127.0.0.1:3001' }],
    [
      'a path',
      { baseUrl: 'https://Example.com/gate/', user },
      { baseUrl: 'https://example.com/gate', local: false, user },
    ],
    ['IPv6 loopback', { baseUrl: 'http://[::1]:3001' }, { baseUrl: 'http://[::1]:3001', local: true }],
    ['below localhost', { baseUrl: 'http://gate.localhost' }, { local: true }],
    ['https on loopback', { baseUrl: 'https://localhost:8443' }, { local: true }],
    ['a default port', { baseUrl: 'https://example.com:443', user }, { baseUrl: 'https://example.com' }],
    ['user on loopback', { user }, { user, local: true }],
    ['clientName', { clientName: 'Ours' }, { clientName: 'Ours' }],
    [
      'clientMetadataUrl',
      { clientMetadataUrl: 'https://example.com/c.json' },
      { clientMetadataUrl: 'https://example.com/c.json' },
    ],
    ['an absolute store path', { store: '/var/lib/gate.json' }, { store: '/var/lib/gate.json' }],
    ['a store', { store }, { store }],
    [
      'allowPrivateNetworks',
      { allowPrivateNetworks: ['10.0.0.0/8'] },
      { allowPrivateNetworks: ['10.0.0.0/8'] },
    ],
    ['trust', { trust: ['https://as.example'] }, { trust: ['https://as.example'] }],
    ['timeout', { timeout: 250 }, { timeout: 250 }],
    ['elicitationWait', { elicitationWait: 0 }, { elicitationWait: 0 }],
    ['clock', { clock }, { clock }],
    ['servers', { servers: {} }, { servers: [] }],
  ])('%s is kept', (_, options, expected) => {
    expect(resolved(options)).toMatchObject(expected)
  })

  it('a relative store path is taken from the working directory', () => {
    const directory = emptyDirectory()
    expect(resolveOptions({ store: 'data/s.json' }, {}, directory).store).toBe(join(directory, 'data/s.json'))
  })

  it('a logger keeps its own this, and its missing methods have their defaults', () => {
    class Own {
      readonly lines: string[] = []
      info(message: string): void {
        this.lines.push(message)
      }
    }
    const own = new Own()
    const { logger } = resolved({ logger: own })
    logger.info('kept')
    logger.debug('nowhere')
    expect(own.lines).toEqual(['kept'])
  })

  it('a store of a class is accepted', () => {
    class Store {
      readonly shared = true
      get = async () => undefined
      async compareAndSet() {
        return true
      }
      async delete() {
        return true
      }
      async *list() {}
    }
    const own = new Store()
    expect(resolved({ store: own }).store).toBe(own)
  })
})

describe('the encryption keys', () => {
  const [A, B] = ['a'.repeat(32), 'b'.repeat(32)]

  it.each<[string, Options['encryptionKey'], string | undefined, readonly string[] | undefined]>([
    ['of the option', A, undefined, [A]],
    ['of the option, newest first', [B, A], undefined, [B, A]],
    ['of the environment', undefined, A, [A]],
    ['of the environment, separated by commas', undefined, `${B}, ${A}\n`, [B, A]],
    ['of the environment with a comma left over', undefined, `${A},`, [A]],
    ['of the option rather than of the environment', A, B, [A]],
    ['of the option as they are: a comma is part of a key', `${A},${B}`, undefined, [`${A},${B}`]],
    ['none: the environment’s is empty', undefined, '', undefined],
    ['none: the environment’s is commas', undefined, ' , ', undefined],
    ['none', undefined, undefined, undefined],
  ])('%s', (_, encryptionKey, variable, expected) => {
    const env = variable === undefined ? {} : { OAUTH_ENCRYPTION_KEY: variable }
    expect(resolved({ encryptionKey }, env).encryptionKeys).toEqual(expected)
  })
})

describe('without `user`', () => {
  it.each([
    'https://gateway.example.com',
    'https://localhost.example.com',
    'https://10.0.0.1',
    'https://0.0.0.0',
  ])('%s is refused, since everyone would share one token', (baseUrl) => {
    const error = errorOf(() => resolved({ baseUrl, encryptionKey: KEY }))
    expect(error.code).toBe('user_option_required')
    expect(error.message).toBe(`mcpDcr(): \`user\` is missing, and ${baseUrl} is not loopback.`)
    expect(error.fix).toContain('user: (req)')
  })
})
