import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer, type Sealer } from '../../src/security/seal.js'
import { createRecords } from '../../src/store/records.js'
import { openStore, temporaryDirectory } from '../store/support.js'
import { environment, mcpDcrCommand, mcpDcrProcess } from './support.js'

const OLD = 'an old key of more than 32 characters'
const NEW = 'a new key that has more than 32 characters'
const LOST = 'a lost key of more than 32 characters'
const sealerOf = (key: string): Sealer => createSealer(loadKeys({ keys: [key], keyFile: '', local: false }))

let path: string
beforeEach(() => {
  path = join(temporaryDirectory(), 'store.json')
})
afterEach(() => void delete environment['OAUTH_ENCRYPTION_KEY'])

/** A connection by user, each sealed with its key. */
async function writeStore(keys: Record<string, string>): Promise<void> {
  const store = openStore(path)
  for (const [user, key] of Object.entries(keys)) {
    const connection = { user, server: 'notes', accessToken: `plain-${user}` } as Connection
    await createRecords(store, sealerOf(key)).connections.save(`notes/${user}`, undefined, connection)
  }
  await store.close()
}

/** Who can be opened with this key. */
async function openedWith(key: string): Promise<string[]> {
  const store = openStore(path)
  const { connections } = createRecords(store, sealerOf(key))
  const opened: string[] = []
  for await (const { key: at } of store.list('oauth_tokens')) {
    const held = await connections.get(at).catch(() => undefined)
    opened.push(...(held?.value.accessToken === undefined ? [] : [held.value.accessToken]))
  }
  await store.close()
  return opened
}

describe('mcp-dcr reseal', () => {
  it('seals with the first key what another one has sealed', async () => {
    await writeStore({ ann: OLD, bob: NEW })
    environment['OAUTH_ENCRYPTION_KEY'] = `${NEW},${OLD}`
    const { code, out, errors } = await mcpDcrCommand('reseal', '--store', path)
    expect([code, errors]).toEqual([0, ''])
    expect(out).toContain('1 sealed anew')
    expect(await openedWith(NEW)).toEqual(['plain-ann', 'plain-bob'])
  })

  it('takes the key file beside the store where no key is set', async () => {
    await writeStore({ ann: OLD })
    writeFileSync(`${path}.key`, OLD)
    expect(await mcpDcrCommand('reseal', '--store', path)).toMatchObject({ code: 0, errors: '' })
  })

  it('leaves alone what was sealed with a lost key, and names it; deletes it where it is told to', async () => {
    await writeStore({ ann: LOST, bob: OLD })
    environment['OAUTH_ENCRYPTION_KEY'] = `${NEW},${OLD}`
    const first = await mcpDcrCommand('reseal', '--store', path)
    expect(first.code).toBe(1)
    expect(first.out).toContain('1 sealed anew')
    expect(first.out).toContain(
      `1 sealed with the key ${sealerOf(LOST).currentKeyId}, which is not among yours: left`,
    )
    expect(await openedWith(LOST)).toEqual(['plain-ann'])
    const second = await mcpDcrCommand('reseal', '--store', path, '--delete-unopened')
    expect([second.code, second.out]).toEqual([0, expect.stringContaining('not among yours: deleted')])
    expect(await openedWith(LOST)).toEqual([])
    expect(await openedWith(NEW)).toEqual(['plain-bob'])
  })

  it('leaves alone what was altered, and deletes it where it is told to', async () => {
    await writeStore({ ann: OLD, bob: OLD })
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace('"notes/ann"', '"notes/eve"'))
    environment['OAUTH_ENCRYPTION_KEY'] = `${NEW},${OLD}`
    const first = await mcpDcrCommand('reseal', '--store', path)
    expect([first.code, first.out]).toEqual([1, expect.stringContaining('1 altered: left alone')])
    expect(readFileSync(path, 'utf8')).toContain('notes/eve')
    expect((await mcpDcrCommand('reseal', '--store', path, '--delete-unopened')).code).toBe(0)
    expect(readFileSync(path, 'utf8')).not.toContain('notes/eve')
    expect(await openedWith(NEW)).toEqual(['plain-bob'])
  })

  it('finds what was altered under the first key too', async () => {
    await writeStore({ ann: NEW, bob: NEW })
    writeFileSync(path, readFileSync(path, 'utf8').replace('"notes/ann"', '"notes/eve"'))
    environment['OAUTH_ENCRYPTION_KEY'] = NEW
    const first = await mcpDcrCommand('reseal', '--store', path)
    expect([first.code, first.out]).toEqual([1, expect.stringContaining('1 altered: left alone')])
    const second = await mcpDcrCommand('reseal', '--store', path, '--delete-unopened')
    expect([second.code, second.out]).toEqual([0, expect.stringContaining('1 altered: deleted')])
    expect(readFileSync(path, 'utf8')).not.toContain('notes/eve')
    expect(await openedWith(NEW)).toEqual(['plain-bob'])
  })

  it.each([
    ['a wrong key', LOST, NEW],
    ['the right key, but all of it altered', NEW, NEW],
  ])('deletes nothing where nothing opens: %s', async (_title, sealedWith, key) => {
    await writeStore({ ann: sealedWith, bob: sealedWith })
    const altered = readFileSync(path, 'utf8')
      .replace('notes/ann', 'notes/eve')
      .replace('notes/bob', 'notes/rob')
    if (sealedWith === key) writeFileSync(path, altered)
    const before = readFileSync(path, 'utf8')
    environment['OAUTH_ENCRYPTION_KEY'] = key
    const { code, out, errors } = await mcpDcrCommand('reseal', '--store', path, '--delete-unopened')
    expect([code, errors]).toEqual([
      1,
      expect.stringContaining('Nothing was deleted: no record opens at all'),
    ])
    expect(out).toMatch(/2 (altered|sealed with the key .*): left alone/)
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  it('does not count what holds no secret as opened', async () => {
    await writeStore({ ann: LOST })
    const store = openStore(path)
    await store.compareAndSet('oauth_tokens', 'notes/bob', undefined, { status: 'needs_authorization' })
    await store.close()
    environment['OAUTH_ENCRYPTION_KEY'] = NEW
    expect((await mcpDcrCommand('reseal', '--store', path, '--delete-unopened')).code).toBe(1)
    expect(await openedWith(LOST)).toEqual(['plain-ann'])
  })

  it('fails where there is no store, and makes none, and where there is nothing in it', async () => {
    environment['OAUTH_ENCRYPTION_KEY'] = NEW
    const absent = await mcpDcrCommand('reseal', '--store', path)
    expect([absent.code, absent.errors]).toEqual([1, expect.stringContaining(`There is no store at ${path}`)])
    expect(readdirSync(dirname(path))).toEqual([])
    await writeStore({ ann: NEW })
    writeFileSync(path, readFileSync(path, 'utf8').replace('oauth_tokens', 'others'))
    const empty = await mcpDcrCommand('reseal', '--store', path)
    expect([empty.code, empty.errors]).toEqual([1, expect.stringContaining('There is nothing in it')])
  })

  it.each([
    [['reseal'], '--store is missing'],
    [['reseal', 'x'], 'Name the store with --store'],
  ])('called as %j says what is wrong', async (args, message) => {
    const { code, errors } = await mcpDcrCommand(...args)
    expect([code, errors]).toEqual([2, expect.stringContaining(message)])
  })

  it('needs a key, and makes none', async () => {
    await writeStore({ ann: OLD })
    const { code, errors } = await mcpDcrCommand('reseal', '--store', path)
    expect([code, errors]).toEqual([1, expect.stringContaining('OAUTH_ENCRYPTION_KEY')])
  })

  it('is a program that reads the environment', async () => {
    await writeStore({ ann: OLD })
    process.env['OAUTH_ENCRYPTION_KEY'] = `${NEW},${OLD}`
    const outcome = await mcpDcrProcess('reseal', '--store', path)
    delete process.env['OAUTH_ENCRYPTION_KEY']
    expect(outcome).toMatchObject({ code: 0, out: expect.stringContaining('1 sealed anew') })
  })
})
