import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { openJsonFileStore } from '../../src/store/json-file.js'
import { replaceFile } from '../../src/store/replace-file.js'
import { recordingLogger, temporaryDirectory } from '../store/support.js'
import { figure } from './figures.js'

const WRITER = fileURLToPath(new URL('./store-writer.js', import.meta.url))
const ON_FULL_DISK = fileURLToPath(new URL('./store-on-full-disk.js', import.meta.url))

interface Content {
  readonly oauth_tokens: Record<string, { data: { run?: string; n: number } }>
  readonly oauth_client_registrations: Record<string, unknown>
}
const read = (path: string): Content => JSON.parse(readFileSync(path, 'utf8')) as Content

/** Numbers below `limit` that are the same at every run. */
function numbers(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return Math.floor((state / 2 ** 32) * limit)
  }
}

describe('the JSON file', () => {
  it('loses no acknowledged change and is never torn, killed at 200 moments', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'store.json')
    const random = numbers(1)
    const acknowledged: string[] = []
    const startedAt = performance.now()
    for (let cycle = 0; cycle < 200; cycle++) {
      const child = spawn(process.execPath, [WRITER, path, `run${cycle}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const killAfter = random(12)
      const turns = random(200)
      for await (const line of createInterface({ input: child.stdout })) {
        acknowledged.push(line)
        if (!line.endsWith(`-${killAfter}`)) continue
        // Somewhere in the write that follows.
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
        child.kill('SIGKILL')
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      expect(child.signalCode).toBe('SIGKILL')
      const { oauth_tokens: tokens, oauth_client_registrations: registrations } = read(path)
      const lost = acknowledged.filter((key) => !(key in tokens) || !(key in registrations))
      expect(lost).toEqual([])
      const [run, n] = (acknowledged.at(-1) ?? '').split('-')
      const counter = tokens['counter']?.data
      expect(counter?.run).toBe(run)
      expect(counter?.n).toBeGreaterThanOrEqual(Number(n))
    }
    figure('kill -9', {
      cycles: 200,
      'acknowledged changes': acknowledged.length * 3,
      lost: 0,
      seconds: ((performance.now() - startedAt) / 1000).toFixed(0),
    })
    // The next one that opens it clears what the killed ones have left.
    await openJsonFileStore({ path, clock: Date.now, logger: recordingLogger() }).close()
    expect(readdirSync(directory)).toEqual(['store.json'])
  })

  it('on a full disk refuses changes, keeps what it has, and goes on once there is room', () => {
    const said = onSmallDisk(`
      node "$ON_FULL_DISK" "$DISK/store.json"
      node "$WRITER" "$DISK/store.json" again 1
      grep -o '"[a-z ]*":{"version"' "$DISK/store.json" | sort | tr -d '\\n'
    `)
    const failed = 'The store could not be written (ENOSPC).'
    expect(said).toEqual([
      'before: true',
      'ENOSPC',
      `full: ${failed}`,
      `still full: ${failed}`,
      'kept',
      'after: true',
      'again-0',
      '"after":{"version""before":{"version""counter":{"version"',
    ])
  })

  it('on a disk that becomes read-only refuses changes, and is read', () => {
    const said = onSmallDisk(`
      node "$WRITER" "$DISK/store.json" first 1
      mount -o remount,ro "$DISK"
      node "$WRITER" "$DISK/store.json" again 1 2>&1 | grep -o "store_[a-z_]*" | head -n 1
      echo "held: $(grep -c first- "$DISK/store.json")"
    `)
    expect(said).toEqual(['first-0', 'store_unavailable', 'held: 2'])
  })

  it('holds 10,000 connections, and writes 1,000 changes made at once without holding up the event loop', async () => {
    const path = join(temporaryDirectory(), 'store.json')
    let writes = 0
    const store = openJsonFileStore({
      path,
      clock: Date.now,
      logger: recordingLogger(),
      replace: (to, content) => {
        writes++
        return replaceFile(to, content)
      },
    })
    const connect = (n: number): Promise<boolean> =>
      store.compareAndSet('oauth_tokens', `notes/user-${n}`, undefined, connection(n))
    await Promise.all(Array.from({ length: 10_000 }, (_, n) => connect(n)))
    writes = 0
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const startedAt = performance.now()
    // A thousand callers, each of whom makes ten changes one after the other.
    await Promise.all(
      Array.from({ length: 1000 }, async (_, caller) => {
        for (let n = 0; n < 10; n++) await connect(10_000 + caller * 10 + n)
      }),
    )
    const seconds = (performance.now() - startedAt) / 1000
    delay.disable()
    await store.close()
    const { oauth_tokens: tokens } = read(path)
    expect(Object.keys(tokens)).toHaveLength(20_000)
    expect(writes).toBeLessThan(100)
    figure('10,000 connections, then 1,000 callers × 10 new ones', {
      'changes/s': (10_000 / seconds).toFixed(0),
      writes,
      'longest event-loop delay, ms': (delay.max / 1e6).toFixed(0),
      'file, MiB': (Buffer.byteLength(readFileSync(path)) / 2 ** 20).toFixed(1),
    })
  })
})

/** Of the size of a real one: two sealed tokens and the issuer's metadata. */
function connection(n: number): Record<string, unknown> {
  return {
    user: `user-${n}`,
    server: 'notes',
    status: 'connected',
    accessToken: 'x'.repeat(1200),
    refreshToken: 'x'.repeat(250),
    authorizationServer: { issuer: 'https://issuer.example', padding: 'x'.repeat(400) },
  }
}

/** Runs a script with a file system of 1 MiB at $DISK, in a namespace of its own; needs util-linux' unshare. */
function onSmallDisk(script: string): string[] {
  const disk = temporaryDirectory()
  const { stdout, stderr, error } = spawnSync(
    'unshare',
    ['-Urm', 'sh', '-c', `mount -t tmpfs -o size=1m none "$DISK" || exit 1\n${script}`],
    { env: { ...process.env, DISK: disk, WRITER, ON_FULL_DISK }, encoding: 'utf8' },
  )
  if (error !== undefined || stdout === '')
    throw new Error(
      `unshare -Urm does not work here (user namespaces are needed): ${error?.message ?? stderr}`,
    )
  return stdout.trim().split('\n')
}
