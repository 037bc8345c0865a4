import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openJsonFileStore } from '../../src/store/json-file.js'
import { replaceFile } from '../../src/store/replace-file.js'
import {
  errorOf,
  gate,
  openStore,
  recordingLogger,
  startStoreProcess,
  temporaryDirectory,
} from './support.js'

const open = (path: string) => openJsonFileStore({ path, clock: Date.now, logger: recordingLogger() })
const modeOf = (path: string): number => statSync(path).mode & 0o777

describe('the file', () => {
  it('comes with a .gitignore where its directory is new and has the default name, and nowhere else', () => {
    const root = temporaryDirectory()
    openStore(join(root, '.mcp-dcr', 'store.json'))
    openStore(join(root, 'other', 'store.json'))
    expect(readFileSync(join(root, '.mcp-dcr', '.gitignore'), 'utf8')).toBe('*\n')
    expect(existsSync(join(root, 'other', '.gitignore'))).toBe(false)
  })

  it('is readable JSON of mode 0600 in a directory of mode 0700, one record per line', async () => {
    const path = join(temporaryDirectory(), 'deep', 'er', 'store.json')
    const store = openStore(path)
    await store.compareAndSet('oauth_tokens', 'a/b', undefined, { user: 'b' })
    await store.compareAndSet('oauth_tokens', 'a/c', undefined, { user: 'c' })
    const text = readFileSync(path, 'utf8')
    expect(JSON.parse(text)).toEqual({
      version: 1,
      oauth_tokens: {
        'a/b': { version: expect.any(String) as string, data: { user: 'b' } },
        'a/c': { version: expect.any(String) as string, data: { user: 'c' } },
      },
    })
    expect(text.split('\n').filter((line) => line.includes('"data"'))).toHaveLength(2)
    expect(modeOf(path)).toBe(0o600)
    expect(modeOf(join(path, '..'))).toBe(0o700)
  })

  it('is closed to others when it was not', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    writeFileSync(path, '{"version":1}')
    chmodSync(path, 0o644)
    const logger = recordingLogger()
    const store = openStore(path, { logger })
    expect(modeOf(path)).toBe(0o600)
    expect(logger.lines).toMatchObject([{ level: 'warn', details: { path } }])
    chmodSync(path, 0o644)
    await store.compareAndSet('c', 'k', undefined, {})
    expect(modeOf(path)).toBe(0o600)
  })

  it('leaves nothing beside it once closed', async () => {
    const directory = temporaryDirectory()
    const store = openStore(join(directory, 'store.json'))
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    await store.close()
    expect(readdirSync(directory)).toEqual(['store.json'])
  })

  it('that somebody edits while it is in use is kept beside it, and what is stored is not lost', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    const logger = recordingLogger()
    const store = openStore(path, { logger })
    await store.compareAndSet('c', 'one', undefined, { n: 1 })
    await store.compareAndSet('c', 'two', undefined, { n: 2 })
    expect(logger.lines).toEqual([])
    writeFileSync(path, 'edited')
    await store.compareAndSet('c', 'three', undefined, { n: 3 })
    await store.compareAndSet('c', 'four', undefined, { n: 4 })
    const copies = readdirSync(directory).filter((name) => name.includes('edited'))
    expect(copies.map((name) => readFileSync(join(directory, name), 'utf8'))).toEqual(['edited'])
    expect(logger.lines).toMatchObject([
      { level: 'error', details: { path, copy: join(directory, copies[0] ?? '') } },
    ])
    expect(Object.keys((JSON.parse(readFileSync(path, 'utf8')) as { c: object }).c)).toHaveLength(4)
  })

  it('that somebody edits while it cannot be written is kept once, and what they make of it then is too', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    let broken = true
    const replace = (to: string, content: Iterable<string>): Promise<void> =>
      broken ? Promise.reject(new Error('no space')) : replaceFile(to, content)
    const store = openStore(path, { replace })
    const add = (key: string): Promise<unknown> =>
      store.compareAndSet('c', key, undefined, {}).catch((error: unknown) => error)
    for (const edit of ['edited', 'edited again']) {
      writeFileSync(path, edit)
      for (let n = 0; n < 3; n++) expect(await add('k')).toEqual(errorOf('store_write_failed'))
    }
    broken = false
    expect(await add('k')).toBe(true)
    const copies = readdirSync(directory).filter((name) => name.includes('.edited-'))
    expect(copies.map((name) => readFileSync(join(directory, name), 'utf8')).sort()).toEqual([
      'edited',
      'edited again',
    ])
  })

  it('that somebody removes while it is in use is there again after the next change', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const store = openStore(path)
    await store.compareAndSet('c', 'one', undefined, { n: 1 })
    rmSync(path)
    await store.compareAndSet('c', 'two', undefined, { n: 2 })
    expect(Object.keys((JSON.parse(readFileSync(path, 'utf8')) as { c: object }).c)).toEqual(['one', 'two'])
  })

  it('holds no expired record after the next write', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    let now = 0
    const store = openStore(path, { clock: () => now })
    await store.compareAndSet('c', 'short', undefined, {}, { expiresAt: 10 })
    now = 10
    await store.compareAndSet('c', 'long', undefined, {})
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ c: { long: {} } })
    expect(readFileSync(path, 'utf8')).not.toContain('short')
  })
})

describe('a change', () => {
  it('is on disk when its promise resolves, and there after reopening', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const first = openStore(path)
    await first.compareAndSet('c', 'kept', undefined, { n: 1 })
    expect(readFileSync(path, 'utf8')).toContain('kept')
    await first.compareAndSet('c', 'gone', undefined, { n: 2 })
    await first.delete('c', 'gone')
    expect(readFileSync(path, 'utf8')).not.toContain('gone')
    const before = await first.get('c', 'kept')
    await first.close()
    const second = openStore(path)
    expect(await second.get('c', 'kept')).toEqual(before)
    expect(await second.get('c', 'gone')).toBeUndefined()
  })

  it('shares its write with the others of its tick', async () => {
    const replace = vi.fn(replaceFile)
    const store = openStore(join(temporaryDirectory(), 'store.json'), { replace })
    await Promise.all(
      Array.from({ length: 1000 }, (_, n) => store.compareAndSet('c', `k${n}`, undefined, { n })),
    )
    expect(replace).toHaveBeenCalledTimes(1)
  })

  it('that shares its write with a thousand others leaves turns of the event loop to the rest of the process', async () => {
    const store = openStore(join(temporaryDirectory(), 'store.json'))
    let turn = 0
    let next = setImmediate(function count() {
      turn++
      next = setImmediate(count)
    })
    const turns = await Promise.all(
      Array.from({ length: 1000 }, async (_, n) => {
        await store.compareAndSet('c', `k${n}`, undefined, { n })
        return turn
      }),
    )
    clearImmediate(next)
    expect(new Set(turns).size).toBeGreaterThan(30)
  })

  it('shares the next write with those made while one is under way, and does not hold up earlier ones', async () => {
    const gates = [gate(), gate()]
    const contents: string[] = []
    const store = openStore(join(temporaryDirectory(), 'store.json'), {
      replace: async (_path, content) => {
        contents.push([...content].join(''))
        await gates[contents.length - 1]?.opened
      },
    })
    const settled: string[] = []
    const first = store.compareAndSet('c', 'first', undefined, {}).then(() => settled.push('first'))
    await vi.waitUntil(() => contents.length === 1)
    const later = ['second', 'third'].map((key) =>
      store.compareAndSet('c', key, undefined, {}).then(() => settled.push(key)),
    )
    expect(await store.get('c', 'first')).toBeUndefined()
    gates[0]?.open()
    await first
    expect(settled).toEqual(['first'])
    expect(await store.get('c', 'first')).toBeDefined()
    expect(await store.get('c', 'second')).toBeUndefined()
    gates[1]?.open()
    await Promise.all(later)
    expect(contents).toHaveLength(2)
    expect(contents[0]).not.toContain('second')
    expect(contents[1]).toContain('third')
  })

  it('that loses against one under way answers only when the winner can be read', async () => {
    const write = gate()
    const store = openStore(join(temporaryDirectory(), 'store.json'), { replace: () => write.opened })
    const won = store.compareAndSet('c', 'k', undefined, { n: 1 })
    let answered = false
    const lost = store.compareAndSet('c', 'k', undefined, { n: 2 }).finally(() => (answered = true))
    const alsoLost = store.delete('c', 'k', 'some version')
    await new Promise(setImmediate)
    expect(answered).toBe(false)
    write.open()
    expect(await lost).toBe(false)
    expect(await alsoLost).toBe(false)
    expect((await store.get('c', 'k'))?.data).toEqual({ n: 1 })
    expect(await won).toBe(true)
  })
})

describe('a write that fails', () => {
  it('rejects its changes and those behind it, and nothing has changed', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const write = gate()
    let broken = false
    const logger = recordingLogger()
    const store = openStore(path, {
      logger,
      replace: (to, content) => (broken ? write.opened : replaceFile(to, content)),
    })
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    const before = await store.get('c', 'k')
    const bytes = readFileSync(path)
    broken = true
    const outcomes = [
      store.compareAndSet('c', 'k', before?.version, { n: 2 }),
      store.compareAndSet('c', 'new', undefined, { n: 2 }),
    ]
    await new Promise(setImmediate)
    outcomes.push(
      store.delete('c', 'never there').then(async () => store.delete('c', 'new')),
      store.compareAndSet('c', 'behind', undefined, { n: 3 }),
      store.compareAndSet('c', 'new', undefined, { n: 4 }),
    )
    const noSpace = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    write.fail(noSpace)
    for (const outcome of await Promise.allSettled(outcomes)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: {
          code: 'store_write_failed',
          cause: noSpace,
          fix: expect.stringContaining('disk space') as string,
        },
      })
    }
    expect(logger.lines).toMatchObject([{ level: 'error', details: { path, error: noSpace } }])
    expect(readFileSync(path)).toEqual(bytes)
    expect(await store.get('c', 'k')).toEqual(before)
    expect(await store.get('c', 'new')).toBeUndefined()
    expect(await store.get('c', 'behind')).toBeUndefined()

    broken = false
    expect(await store.compareAndSet('c', 'k', before?.version, { n: 5 })).toBe(true)
    expect(await store.compareAndSet('c', 'new', undefined, { n: 6 })).toBe(true)
    await store.close()
    const reopened = openStore(path)
    expect((await reopened.get('c', 'k'))?.data).toEqual({ n: 5 })
    expect(await reopened.get('c', 'behind')).toBeUndefined()
  })

  it('half-way leaves the earlier file whole, and smaller writes work again', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    // As on a full disk, the first write(2) writes a part and reports no error.
    const { said } = await startStoreProcess(path, 'outgrow', 'ulimit -f 200')
    expect(said.split('\n')).toEqual(['true', 'The store could not be written (EFBIG).', 'true'])
    expect(Object.keys((JSON.parse(readFileSync(path, 'utf8')) as { c: object }).c)).toEqual([
      'before',
      'after',
    ])
  })

  it.each<[string, (directory: string) => void]>([
    ['has vanished', () => undefined],
    ['has become a file', (directory) => writeFileSync(directory, '')],
  ])('because the directory %s can be repeated when it is back', async (_what, replaceDirectory) => {
    const directory = join(temporaryDirectory(), 'data')
    const store = openStore(join(directory, 'store.json'))
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    renameSync(directory, `${directory}.away`)
    replaceDirectory(directory)
    await expect(store.compareAndSet('c', 'other', undefined, {})).rejects.toThrow(
      errorOf('store_write_failed'),
    )
    expect((await store.get('c', 'k'))?.data).toEqual({ n: 1 })
    rmSync(directory, { force: true })
    renameSync(`${directory}.away`, directory)
    expect(readFileSync(join(directory, 'store.json'), 'utf8')).not.toContain('other')
    expect(await store.compareAndSet('c', 'other', undefined, {})).toBe(true)
    expect(readFileSync(join(directory, 'store.json'), 'utf8')).toContain('other')
  })
})

describe('opening', () => {
  it.each<[string, string | Buffer]>([
    ['no JSON', '{"version":1,"oauth_tokens":{"a":'],
    ['an empty file', ''],
    ['null', 'null'],
    ['another version', '{"version":2}'],
    ['no version', '{}'],
    ['a list', '[]'],
    ['a collection that is a list', '{"version":1,"oauth_tokens":[]}'],
    ['a record that is text', '{"version":1,"oauth_tokens":{"a":"b"}}'],
    ['a record without version', '{"version":1,"oauth_tokens":{"a":{"data":{}}}}'],
    ['a record without data', '{"version":1,"oauth_tokens":{"a":{"version":"x"}}}'],
    [
      'a record with a wrong expiry',
      '{"version":1,"oauth_tokens":{"a":{"version":"x","data":{},"expiresAt":"x"}}}',
    ],
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ])('refuses %s and leaves the file alone', (_what, content) => {
    const path = join(temporaryDirectory(), 'store.json')
    writeFileSync(path, content)
    const bytes = readFileSync(path)
    expect(() => open(path)).toThrow(errorOf('store_corrupt'))
    expect(() => open(path)).toThrow(path)
    expect(readFileSync(path)).toEqual(bytes)
    expect(readdirSync(join(path, '..'))).toEqual(['store.json'])
  })

  it('refuses what verify refuses, leaves the file alone, and can be repeated', () => {
    const path = join(temporaryDirectory(), 'store.json')
    const text = '{"version":1,"c":{"k":{"version":"v","data":{"n":1}}}}'
    writeFileSync(path, text)
    const logger = recordingLogger()
    const seen: unknown[] = []
    const verify = (records: Iterable<unknown>): void => {
      seen.push(...records)
      throw new Error('refused')
    }
    for (let time = 0; time < 2; time++) {
      expect(() => openJsonFileStore({ path, clock: Date.now, logger, verify })).toThrow('refused')
    }
    expect(seen[0]).toEqual({ collection: 'c', key: 'k', data: { n: 1 } })
    expect(readFileSync(path, 'utf8')).toBe(text)
  })

  it('says when the path cannot be used', () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'folder'))
    writeFileSync(join(directory, 'file'), '')
    expect(() => open(join(directory, 'folder'))).toThrow(errorOf('store_unavailable'))
    expect(() => open(join(directory, 'file', 'store.json'))).toThrow(errorOf('store_unavailable'))
  })

  it('follows a link to the file, and locks the file itself', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    writeFileSync(path, '{"version":1}')
    symlinkSync(path, join(directory, 'link.json'))
    const store = openStore(join(directory, 'link.json'))
    await store.compareAndSet('c', 'k', undefined, {})
    expect(readFileSync(path, 'utf8')).toContain('"k"')
    expect(() => open(path)).toThrow(errorOf('store_locked'))
  })
})

describe('closing', () => {
  it('waits for pending writes, and later calls are refused', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    const store = openStore(path)
    const pending = store.compareAndSet('c', 'k', undefined, { n: 1 })
    await store.close()
    await store.close()
    expect(readFileSync(path, 'utf8')).toContain('"n":1')
    expect(await pending).toBe(true)
    expect(existsSync(`${path}.lock`)).toBe(false)
    await expect(store.get('c', 'k')).rejects.toThrow(errorOf('store_unavailable'))
    await expect(store.compareAndSet('c', 'k', undefined, {})).rejects.toThrow(errorOf('store_unavailable'))
    await expect(store.delete('c', 'k')).rejects.toThrow(errorOf('store_unavailable'))
    await expect(store.list('c')[Symbol.asyncIterator]().next()).rejects.toThrow(errorOf('store_unavailable'))
  })
})
