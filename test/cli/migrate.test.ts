import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { openStore, temporaryDirectory } from '../store/support.js'
import { mcpDcrCommand, mcpDcrProcess } from './support.js'

let from: string
let to: string
beforeEach(() => {
  const directory = temporaryDirectory()
  from = join(directory, 'from.json')
  to = join(directory, 'to.json')
})

/** Writes a store that is not open any more. */
async function writeStore(path: string, records: Record<string, Record<string, object>>): Promise<void> {
  const store = openStore(path)
  const writes = Object.entries(records).flatMap(([collection, table]) =>
    Object.entries(table).map(async ([key, data]) => {
      const version = (await store.get(collection, key))?.version
      expect(await store.compareAndSet(collection, key, version, { ...data })).toBe(true)
    }),
  )
  await Promise.all(writes)
  await store.close()
}

/** The data in a store, by collection and key. */
function readStore(path: string): Record<string, Record<string, unknown>> {
  const { version: _version, ...tables } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, object>
  const dataOf = ([key, record]: [string, { data: unknown }]) => [key, record.data]
  return Object.fromEntries(
    Object.entries(tables).map(([collection, table]) => [
      collection,
      Object.fromEntries(Object.entries(table).map(dataOf)),
    ]),
  )
}

const RECORDS = {
  oauth_client_registrations: { 'notes/as/uri': { clientId: 'client-1', clientSecret: 'sealed-1' } },
  oauth_tokens: {
    'notes/ann': { user: 'ann', accessToken: 'sealed-2' },
    'notes/bob': { user: 'bob', accessToken: 'sealed-3' },
  },
}

describe('mcp-dcr migrate', () => {
  it('copies registrations and tokens as they are, and nothing else', async () => {
    await writeStore(from, { ...RECORDS, leases: { x: {} } })
    const { code, out, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect([code, errors]).toEqual([0, ''])
    expect(out).toContain('oauth_client_registrations: 1 copied, 0 already there')
    expect(out).toContain('oauth_tokens: 2 copied, 0 already there')
    expect(readStore(to)).toEqual(RECORDS)
    expect(out).not.toContain('sealed-')
  })

  it('goes on where it was cut off', async () => {
    await writeStore(from, RECORDS)
    await writeStore(to, { oauth_tokens: { 'notes/ann': RECORDS.oauth_tokens['notes/ann'] } })
    const { code, out } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect(code).toBe(0)
    expect(out).toContain('oauth_tokens: 1 copied, 1 already there')
    expect(readStore(to)).toEqual(RECORDS)
  })

  it('keeps what differs unless it is told otherwise', async () => {
    const changed = { user: 'ann', accessToken: 'sealed-new' }
    await writeStore(from, RECORDS)
    await writeStore(to, { oauth_tokens: { 'notes/ann': changed } })
    const refused = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect(refused.code).toBe(1)
    expect(refused.out).toContain('oauth_tokens: 1 copied, 0 already there, 1 different')
    expect(refused.errors).toContain('oauth_tokens notes/ann')
    expect(refused.errors).not.toContain('sealed-')
    expect(readStore(to)['oauth_tokens']?.['notes/ann']).toEqual(changed)

    const told = await mcpDcrCommand('migrate', '--from', from, '--to', to, '--overwrite')
    expect([told.code, told.out]).toEqual([
      0,
      expect.stringContaining('oauth_tokens: 0 copied, 1 already there, 1 overwritten'),
    ])
    expect(readStore(to)).toEqual(RECORDS)
  })

  it('copies 3,000 records', async () => {
    const tokens = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`notes/user${n}`, { n }]))
    await writeStore(from, { oauth_tokens: tokens })
    const { out } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect(out).toContain('oauth_tokens: 3000 copied')
    expect(readStore(to)['oauth_tokens']).toEqual(tokens)
  })

  it('says what to do with the key beside the store', async () => {
    await writeStore(from, RECORDS)
    writeFileSync(`${from}.key`, 'the key itself')
    const { out } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect(out).toContain(`OAUTH_ENCRYPTION_KEY to the content of ${from}.key`)
    expect(out).not.toContain('the key itself')
  })

  it('refuses a store that a gateway has open', async () => {
    await writeStore(from, RECORDS)
    openStore(from)
    const { code, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect([code, errors]).toEqual([1, expect.stringContaining(`${process.pid}`)])
    expect(existsSync(to)).toBe(false)
  })

  it('makes no store where the source should be', async () => {
    const { code, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect([code, errors]).toEqual([1, expect.stringContaining(`There is no store at ${from}`)])
    expect([existsSync(from), existsSync(to)]).toEqual([false, false])
  })

  it('fails where there is nothing to copy', async () => {
    await writeStore(from, { leases: { x: {} } })
    const { code, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', to)
    expect([code, errors]).toEqual([1, expect.stringContaining('nothing to copy')])
    expect(existsSync(to)).toBe(false)
  })

  it.each([
    [['migrate', '--to', 'x'], '--from is missing'],
    [['migrate', '--from', 'x'], '--to is missing'],
    [['migrate', '--from', 'x', '--to', 'x'], 'the same store'],
    [['migrate', 'x', 'y'], '--from and --to'],
    [['migrate', '--form', 'x'], "'--form'"],
    [['migrat'], 'There is no command "migrat"'],
    [[], 'A command is missing'],
  ])('called as %j says what is wrong', async (args, message) => {
    const { code, errors } = await mcpDcrCommand(...args)
    expect([code, errors]).toEqual([2, expect.stringContaining(message)])
    expect(errors).toContain('Usage: mcp-dcr migrate')
  })

  it.each([
    ['mysql://user:s3cret@localhost/x', 'postgres:// or redis://'],
    ['postgres://user:s3cret@local host/x', 'not valid'],
    ['postgres://user:s3cret@127.0.0.1:1/x', 'ECONNREFUSED'],
    ['redis://user:s3cret@127.0.0.1:1/0', 'ECONNREFUSED'],
  ])('does not print the password of %s', async (url, message) => {
    await writeStore(from, RECORDS)
    const { code, out, errors } = await mcpDcrCommand('migrate', '--from', from, '--to', url)
    expect([code, errors]).toEqual([1, expect.stringContaining(message)])
    expect(out + errors).not.toContain('s3cret')
  })

  it('is a program, with its exit codes', async () => {
    await writeStore(from, RECORDS)
    expect(await mcpDcrProcess('migrate', '--from', from, '--to', to)).toMatchObject({
      code: 0,
      out: expect.stringContaining('2 copied'),
    })
    expect(await mcpDcrProcess('--help')).toMatchObject({ code: 0, out: expect.stringContaining('Usage:') })
    expect(await mcpDcrProcess('migrate')).toMatchObject({ code: 2, out: '' })
  })
})
