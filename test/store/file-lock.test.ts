import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openJsonFileStore } from '../../src/store/json-file.js'
import {
  errorOf,
  kill,
  openStore,
  recordingLogger,
  startStoreProcess,
  temporaryDirectory,
} from './support.js'

const newPath = (): string => join(temporaryDirectory(), 'store.json')
const open = (path: string) => openJsonFileStore({ path, clock: Date.now, logger: recordingLogger() })

function leaveLock(path: string, owner: object | undefined): void {
  mkdirSync(`${path}.lock`)
  if (owner !== undefined)
    writeFileSync(`${path}.lock.owner`, JSON.stringify({ since: 0, token: 'theirs', ...owner }))
}

describe('one process at a time', () => {
  it('a second open in the same process is refused until the first is closed', async () => {
    const path = newPath()
    const store = openStore(path)
    expect(() => open(path)).toThrow(errorOf('store_locked'))
    expect(() => open(path)).toThrow(`process ${process.pid} on ${hostname()}`)
    expect(await store.compareAndSet('c', 'k', undefined, {})).toBe(true)
    await store.close()
    expect((await openStore(path).get('c', 'k'))?.data).toEqual({})
  })

  it('a second process is refused, told who holds the file, and changes nothing', async () => {
    const path = newPath()
    const store = openStore(path)
    await store.compareAndSet('c', 'k', undefined, { n: 1 })
    const bytes = readFileSync(path)
    const { said } = await startStoreProcess(path, 'hold')
    expect(said).toBe(`store_locked: The store ${path} is in use by process ${process.pid} on ${hostname()}.`)
    expect(readFileSync(path)).toEqual(bytes)
    expect(await store.compareAndSet('c', 'k2', undefined, {})).toBe(true)
  })

  it('is refused by a live second process', async () => {
    const path = newPath()
    const { child } = await startStoreProcess(path, 'hold')
    expect(() => open(path)).toThrow(`process ${child.pid} on ${hostname()}`)
  })

  it('does not keep a process alive, which leaves no lock', async () => {
    const path = newPath()
    const { child, said } = await startStoreProcess(path, 'exit')
    expect(said).toBe('opened')
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(0)
    expect(existsSync(`${path}.lock`)).toBe(false)
  })

  it('ends on SIGTERM as any other process', async () => {
    const { child } = await startStoreProcess(newPath(), 'hold')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM'])
  })

  it('lets an app finish its own shutdown, and leaves no lock then', async () => {
    const path = newPath()
    const { child } = await startStoreProcess(path, 'shut down')
    child.kill('SIGTERM')
    const [text] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [string]
    expect(text).toBe('shut down\n')
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(0)
    expect([existsSync(`${path}.lock`), existsSync(`${path}.lock.owner`)]).toEqual([false, false])
  })
})

describe('a holder that has ended', () => {
  it('by SIGKILL: the store opens at once, with everything it had confirmed', async () => {
    const path = newPath()
    const { child } = await startStoreProcess(path, 'hold')
    await kill(child)
    expect(existsSync(`${path}.lock`)).toBe(true)
    const store = openStore(path)
    expect((await store.get('oauth_tokens', 'from the child'))?.data).toEqual({ pid: child.pid })
    expect(await store.compareAndSet('c', 'k', undefined, {})).toBe(true)
  })

  it('by SIGKILL in the middle of writing: the file is whole, and no temporary file stays', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    const { child } = await startStoreProcess(path, 'write')
    let confirmed = ''
    child.stdout?.on('data', (text: string) => (confirmed += text))
    while (!confirmed.includes('20\n')) await once(child.stdout as NodeJS.ReadableStream, 'data')
    await kill(child)
    const store = openStore(path)
    const last = Number(confirmed.trim().split('\n').at(-1))
    for (let n = 0; n <= last; n++) expect((await store.get('oauth_tokens', `key ${n}`))?.data.n).toBe(n)
    await store.close()
    expect(readdirSync(directory)).toEqual(['store.json'])
  })

  it('has its temporary files removed, and nobody else’s', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    const { child } = await startStoreProcess(path, 'hold')
    writeFileSync(`${path}.3735928559`, '{"version":1,')
    writeFileSync(`${path}.20200101`, 'a backup')
    utimesSync(`${path}.20200101`, new Date('2020-01-01'), new Date('2020-01-01'))
    writeFileSync(`${path}.bak`, 'another')
    await kill(child)
    await openStore(path).close()
    expect(readdirSync(directory).sort()).toEqual(['store.json', 'store.json.20200101', 'store.json.bak'])
  })

  it('is recognised although its pid is in use again, here by this process', () => {
    const path = newPath()
    leaveLock(path, { pid: process.pid, host: hostname(), processStart: 'another time' })
    expect(() => openStore(path)).not.toThrow()
  })

  it('is recognised by our own pid where start times are not known', () => {
    const path = newPath()
    leaveLock(path, { pid: process.pid, host: hostname() })
    expect(() => openStore(path)).not.toThrow()
  })
})

describe('a holder that may live', () => {
  it.each<[string, object | undefined, string]>([
    ['on another host', { pid: 1, host: 'elsewhere' }, 'process 1 on elsewhere'],
    [
      'with another pid, of unknown start',
      { pid: process.ppid, host: hostname() },
      `process ${process.ppid}`,
    ],
    ['unknown', undefined, 'another process'],
    ['with a pid that is none', { pid: 0, host: hostname() }, 'another process'],
  ])('%s keeps its lock', (_who, owner, named) => {
    const path = newPath()
    leaveLock(path, owner)
    expect(() => open(path)).toThrow(errorOf('store_locked'))
    expect(() => open(path)).toThrow(named)
    expect(existsSync(`${path}.lock`)).toBe(true)
  })

  it('on another host loses it once its heartbeat has stopped', () => {
    const path = newPath()
    leaveLock(path, { pid: 1, host: 'elsewhere' })
    const old = new Date(Date.now() - 11_000)
    utimesSync(`${path}.lock`, old, old)
    expect(() => openStore(path)).not.toThrow()
  })
})

it('a store that was taken over writes nothing more, and leaves the new holder’s lock', async () => {
  const path = newPath()
  const store = openStore(path)
  await store.compareAndSet('c', 'k', undefined, { n: 1 })
  writeFileSync(
    `${path}.lock.owner`,
    JSON.stringify({ pid: 1, host: 'elsewhere', since: 0, token: 'theirs' }),
  )
  writeFileSync(path, '{"version":1}')
  await expect(store.compareAndSet('c', 'k2', undefined, {})).rejects.toThrow(errorOf('store_locked'))
  expect((await store.get('c', 'k'))?.data).toEqual({ n: 1 })
  await store.close()
  expect(readFileSync(path, 'utf8')).toBe('{"version":1}')
  expect(readFileSync(`${path}.lock.owner`, 'utf8')).toContain('theirs')
  expect(existsSync(`${path}.lock`)).toBe(true)
})
