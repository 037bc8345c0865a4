import { randomUUID } from 'node:crypto'
import { Pool, type PoolConfig } from 'pg'
import { afterAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import type { Connection, Registration } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import { storeChecks } from '../../src/store/compliance.js'
import { postgresStore, type PostgresStoreOptions } from '../../src/store/postgres.js'
import { connectionKey, createRecords, registrationKey } from '../../src/store/records.js'
import { errorOf } from '../store/support.js'
import { startLine } from './cut-line.js'

const admin = new Pool({ connectionString: inject('postgresUrl') })
const schemas = new Set<string>()
afterAll(async () => {
  for (const schema of schemas) await admin.query(`drop schema if exists ${schema} cascade`)
  await admin.end()
})

function freshSchema(): string {
  const schema = `test_${randomUUID().replaceAll('-', '')}`
  schemas.add(schema)
  return schema
}

function openPool(config: PoolConfig = {}): Pool {
  const pool = new Pool({ connectionString: inject('postgresUrl'), ...config })
  onTestFinished(() => pool.end())
  return pool
}

const checks = storeChecks({
  shared: true,
  open(schema, clock) {
    schemas.add(schema)
    return postgresStore({ pool: admin, schema, clock })
  },
})

describe('the Postgres store', () => {
  it.each(checks)('$name', ({ run }) => run())
})

describe('the Postgres store where transactions are serializable by default', () => {
  const pool = new Pool({
    connectionString: inject('postgresUrl'),
    options: '-c default_transaction_isolation=serializable',
  })
  afterAll(() => pool.end())
  const races = storeChecks({
    shared: true,
    open(schema, clock) {
      schemas.add(schema)
      return postgresStore({ pool, schema, clock })
    },
  }).filter(({ name }) => /many|not both/.test(name))

  it.each(races)('$name', ({ run }) => run())
})

const registration: Registration = {
  status: 'registered',
  server: 'notes',
  serverUrl: 'https://mcp.example/mcp',
  issuer: 'https://as.example',
  redirectUri: 'https://gateway.example/api/oauth/callback',
  createdAt: Date.UTC(2026, 0, 2),
  clientId: 'client-1',
  clientSecret: 'plain-client-secret',
  clientSecretExpiresAt: Date.UTC(2026, 6, 1) / 1000,
  tokenEndpointAuthMethod: 'client_secret_basic',
  registrationAccessToken: 'plain-registration-token',
  scope: 'read write',
}

const connection: Connection = {
  user: 'ann',
  server: 'notes',
  serverUrl: 'https://mcp.example/mcp',
  status: 'connected',
  clientSource: 'dynamic',
  clientId: 'client-1',
  redirectUri: 'https://gateway.example/api/oauth/callback',
  authorizationServer: {
    issuer: 'https://as.example',
    authorization_endpoint: 'https://as.example/authorize',
    token_endpoint: 'https://as.example/token',
  },
  accessToken: 'plain-access-token',
  refreshToken: 'plain-refresh-token',
  expiresAt: Date.UTC(2026, 0, 3),
  scope: 'read',
  obtainedBy: 'authorization',
  obtainedAt: Date.UTC(2026, 0, 2),
  connectedAt: Date.UTC(2026, 0, 1),
}

describe('the tables', () => {
  it('show everything but the secrets, which are sealed in columns of their own', async () => {
    const schema = freshSchema()
    const keys = loadKeys({ keys: ['a key of 32 characters at the least'], keyFile: '', local: false })
    const records = createRecords(postgresStore({ pool: admin, schema }), createSealer(keys))
    const key = registrationKey('notes', registration.issuer, registration.redirectUri)
    await records.registrations.save(key, undefined, registration)
    await records.connections.save(connectionKey('ann', 'notes'), undefined, connection)
    expect((await records.registrations.get(key))?.value).toEqual(registration)
    expect((await records.connections.get('notes/ann'))?.value).toEqual(connection)

    const [row] = (await admin.query(`select * from ${schema}.oauth_client_registrations`)).rows
    expect(row).toMatchObject({
      key: 'notes/https%3A%2F%2Fas.example/https%3A%2F%2Fgateway.example%2Fapi%2Foauth%2Fcallback',
      server: 'notes',
      server_url: 'https://mcp.example/mcp',
      issuer: 'https://as.example',
      redirect_uri: 'https://gateway.example/api/oauth/callback',
      status: 'registered',
      client_id: 'client-1',
      scope: 'read write',
      created_at: new Date('2026-01-02'),
      client_secret_expires_at: new Date('2026-07-01'),
      client_secret: expect.stringMatching(/^ey[\w-]+\./),
      registration_access_token: expect.stringMatching(/^ey[\w-]+\./),
    })
    const [token] = (await admin.query(`select * from ${schema}.oauth_tokens`)).rows
    expect(token).toMatchObject({
      key: 'notes/ann',
      user_id: 'ann',
      server: 'notes',
      server_url: 'https://mcp.example/mcp',
      issuer: 'https://as.example',
      status: 'connected',
      client_id: 'client-1',
      scope: 'read',
      expires_at: new Date('2026-01-03'),
      obtained_at: new Date('2026-01-02'),
      connected_at: new Date('2026-01-01'),
      access_token: expect.stringMatching(/^ey[\w-]+\./),
      refresh_token: expect.stringMatching(/^ey[\w-]+\./),
    })
    for (const { data } of [row, token]) expect(JSON.stringify(data)).not.toMatch(/plain-|ey[\w-]+\./)
    expect(JSON.stringify([row, token])).not.toContain('plain-')
  })

  it('keep the order of the members', async () => {
    const store = postgresStore({ pool: admin, schema: freshSchema() })
    const data = { z: 1, refreshToken: 'sealed', a: { y: 1, b: 2 }, accessToken: 'sealed' }
    await store.compareAndSet('oauth_tokens', 'k', undefined, data)
    expect(JSON.stringify((await store.get('oauth_tokens', 'k'))?.data)).toBe(JSON.stringify(data))
  })

  it('are made in the first schema of the search path, where none is named', async () => {
    const schema = freshSchema()
    await admin.query(`create schema ${schema}`)
    const store = postgresStore({ pool: openPool({ options: `-c search_path=${schema}` }) })
    await store.compareAndSet('oauth_tokens', 'k', undefined, {})
    expect((await admin.query(`select key from ${schema}.oauth_tokens`)).rows).toEqual([{ key: 'k' }])
  })

  it('are made once, by twenty instances at the same time, each with connections of its own', async () => {
    const schema = freshSchema()
    const pools = Array.from({ length: 20 }, () => openPool({ max: 1 }))
    await Promise.all(pools.map((pool) => postgresStore({ pool, schema }).migrate()))
    const { rows } = await admin.query(
      'select table_name from information_schema.tables where table_schema = $1 order by 1',
      [schema],
    )
    expect(rows.map(({ table_name: name }) => name)).toEqual([
      'mcp_dcr_records',
      'oauth_client_registrations',
      'oauth_tokens',
    ])
  })

  it('are used by a role that may create nothing; without them it is told what to do', async () => {
    const schema = freshSchema()
    await admin.query(
      `create schema ${schema}; create role ${schema} login; grant usage on schema ${schema} to ${schema}`,
    )
    onTestFinished(() => admin.query(`drop owned by ${schema}; drop role ${schema}`).then(() => undefined))
    const connectionString = Object.assign(new URL(inject('postgresUrl')), {
      username: schema,
      password: '',
    }).href
    const store = postgresStore({ pool: openPool({ connectionString }), schema })
    const error: unknown = await store.get('oauth_tokens', 'k').catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'store_unavailable', fix: expect.stringContaining('migrate()') })

    await postgresStore({ pool: admin, schema }).migrate()
    await admin.query(`grant select, insert, update, delete on all tables in schema ${schema} to ${schema}`)
    expect(await store.compareAndSet('oauth_tokens', 'k', undefined, {})).toBe(true)
    await store.migrate()
  })

  it('of another program are left alone', async () => {
    const schema = freshSchema()
    await admin.query(`create schema ${schema}; create table ${schema}.oauth_tokens (id int)`)
    const store = postgresStore({ pool: admin, schema })
    await expect(store.get('oauth_tokens', 'k')).rejects.toMatchObject({
      code: 'store_unavailable',
      fix: expect.stringContaining('another program'),
    })
    const tables = await admin.query('select from information_schema.tables where table_schema = $1', [
      schema,
    ])
    expect(tables.rowCount).toBe(1)
  })

  it('are made anew where somebody has dropped them', async () => {
    const schema = freshSchema()
    const store = postgresStore({ pool: admin, schema })
    await store.compareAndSet('leases', 'k', undefined, {})
    await admin.query(`drop schema ${schema} cascade`)
    await expect(store.get('leases', 'k')).rejects.toThrow(errorOf('store_unavailable'))
    expect(await store.compareAndSet('leases', 'k', undefined, {})).toBe(true)
  })

  it.each([
    ['data', '[1]'],
    ['data', 'null'],
    ['key', 'bad"'],
  ])('with a row whose %s somebody has set to %s: it is left out of a list', async (column, value) => {
    const schema = freshSchema()
    const store = postgresStore({ pool: admin, schema })
    for (const key of ['a', 'bad', 'c']) await store.compareAndSet('oauth_tokens', key, undefined, {})
    await admin.query(`update ${schema}.oauth_tokens set ${column} = $1 where key = 'bad'`, [value])
    const keys: string[] = []
    for await (const { key } of store.list('oauth_tokens')) keys.push(key)
    expect(keys).toEqual(['a', 'c'])
    const record = store.get('oauth_tokens', 'bad')
    if (column === 'data') await expect(record).rejects.toThrow(errorOf('store_corrupt'))
    else expect(await record).toMatchObject({ data: {} })
  })

  it('lose what has expired, at a later write', async () => {
    const schema = freshSchema()
    let now = 1000
    const store = postgresStore({ pool: admin, schema, clock: () => now })
    await store.compareAndSet('leases', 'old', undefined, {}, { expiresAt: 2000 })
    await store.compareAndSet('leases', 'lasting', undefined, {}, { expiresAt: 2_000_000 })
    now = 1_000_000
    await store.compareAndSet('leases', 'new', undefined, {})
    const keys = async (): Promise<unknown[]> => {
      const { rows } = await admin.query(`select key from ${schema}.mcp_dcr_records order by key`)
      return rows.map(({ key }) => key)
    }
    await expect.poll(keys).toEqual(['lasting', 'new'])
  })
})

describe('a list of 100,000 records', () => {
  it('comes page by page, and one server’s part without reading the rest', { timeout: 60_000 }, async () => {
    const schema = freshSchema()
    const texts: string[] = []
    const pool = openPool()
    const store = postgresStore({ pool: spying(pool, texts), schema })
    await store.migrate()
    await admin.query(
      `insert into ${schema}.oauth_tokens (id, key, version, data)
       select md5(n::text), 'server' || n % 1000 || '/user' || n, 'v', '{}' from generate_series(1, 100000) n;
       analyze ${schema}.oauth_tokens`,
    )
    const keys = new Set<string>()
    for await (const { key } of store.list('oauth_tokens')) keys.add(key)
    expect(keys.size).toBe(100_000)
    expect(texts.length).toBeGreaterThan(200)
    const ofServer: string[] = []
    for await (const { key } of store.list('oauth_tokens', 'server7/')) ofServer.push(key)
    expect(ofServer).toHaveLength(100)

    const query = texts.at(-1) as string
    const values = ['server7/%', 'server7/%', '', '', Date.now(), 500]
    const plan = await admin.query({ text: `explain (analyze, format json) ${query}`, values })
    expect(JSON.stringify(plan.rows)).not.toContain('Seq Scan')
    expect(plan.rows[0]['QUERY PLAN'][0].Plan['Actual Rows']).toBe(100)
  })
})

describe('when Postgres fails', () => {
  const openThrough = async (
    options: Partial<PostgresStoreOptions> = {},
  ): Promise<{
    line: Awaited<ReturnType<typeof startLine>>
    store: ReturnType<typeof postgresStore>
    pool: Pool
  }> => {
    const line = await startLine(inject('postgresUrl'))
    const pool = new Pool({ connectionString: line.url, max: 2 })
    onTestFinished(async () => {
      await line.mend()
      await pool.end()
      await line.close()
    })
    return { line, pool, store: postgresStore({ pool, schema: freshSchema(), ...options }) }
  }

  it('being gone, every call fails clearly, and all is well once it is back', async () => {
    const { line, store } = await openThrough()
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    await line.cut()
    const calls = [
      () => store.get('oauth_tokens', 'k'),
      () => store.compareAndSet('oauth_tokens', 'k', undefined, { n: 2 }),
      () => store.delete('oauth_tokens', 'k'),
      () => store.list('oauth_tokens')[Symbol.asyncIterator]().next(),
    ]
    for (const call of calls) await expect(call()).rejects.toThrow(errorOf('store_unavailable'))
    await line.mend()
    expect((await store.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
  })

  it('being gone at the start, the tables are made once it is there', async () => {
    const { line, store } = await openThrough()
    await line.cut()
    await expect(store.get('oauth_tokens', 'k')).rejects.toThrow(errorOf('store_unavailable'))
    await line.mend()
    expect(await store.compareAndSet('oauth_tokens', 'k', undefined, {})).toBe(true)
  })

  it('ending the connections, it is asked again over new ones', async () => {
    const { store, pool } = await openThrough()
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    // With a listener of its own to errors, this would not show that the store has one.
    const lost = new Promise((resolve) => pool.once('remove', resolve))
    const { rows } = await pool.query('select pg_backend_pid() as pid')
    await admin.query('select pg_terminate_backend($1)', [rows[0].pid])
    await lost
    expect((await store.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
  })

  it('answering nothing, no call takes longer than its time, and all is well once it answers', async () => {
    const schema = freshSchema()
    const { line, pool, store } = await openThrough({ schema, timeout: 500 })
    // One connection is there already, and others are begun in vain.
    await postgresStore({ pool, schema }).migrate()
    line.freeze()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => store.compareAndSet('oauth_tokens', 'k', undefined, {})),
    )
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({
        reason: { code: 'store_unavailable', message: expect.stringContaining('within 500 ms') },
      })
    await line.mend()
    await expect
      .poll(() => store.get('oauth_tokens', 'other').catch((error: unknown) => error))
      .toBeUndefined()
  })

  it('a connection that comes too late is given back', async () => {
    const pool = openPool({ max: 1 })
    const store = postgresStore({ pool, schema: freshSchema(), timeout: 500 })
    await store.migrate()
    const lent = await pool.connect()
    await expect(store.get('oauth_tokens', 'k')).rejects.toThrow(errorOf('store_unavailable'))
    lent.release()
    expect(await store.get('oauth_tokens', 'k')).toBeUndefined()
  })

  it('refusing to write, what was stored is kept', async () => {
    const schema = freshSchema()
    const store = postgresStore({ pool: admin, schema })
    await store.compareAndSet('oauth_tokens', 'k', undefined, { n: 1 })
    const pool = openPool({ options: '-c default_transaction_read_only=on' })
    const readOnly = postgresStore({ pool, schema })
    expect((await readOnly.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
    await expect(readOnly.delete('oauth_tokens', 'k')).rejects.toThrow(errorOf('store_write_failed'))
    expect((await store.get('oauth_tokens', 'k'))?.data).toEqual({ n: 1 })
  })
})

it.each([
  ['no pool', {}, 'pool'],
  ['a schema of odd characters', { pool: admin, schema: 'a"; drop table x' }, 'schema'],
])('%s is refused', (_what, options, word) => {
  expect(() => postgresStore(options as PostgresStoreOptions)).toThrow(
    expect.objectContaining({ code: 'invalid_options', message: expect.stringContaining(word) }),
  )
})

/** A pool that notes the statements that it is asked. */
function spying(pool: Pool, texts: string[]): PostgresStoreOptions['pool'] {
  return {
    on: (event, listener) => pool.on(event, listener),
    listenerCount: (event) => pool.listenerCount(event),
    async connect() {
      const client = await pool.connect()
      return {
        on: (event, listener) => client.on(event, listener),
        removeListener: (event, listener) => client.removeListener(event, listener),
        release: (error) => client.release(error),
        query(query) {
          texts.push(query.text)
          return client.query(query)
        },
      }
    },
  }
}
