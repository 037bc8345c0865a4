/** A second process on a store file: says how opening went, then does its task until it is killed or told to end. */
import { McpDcrError } from '../../src/errors.js'
import { openJsonFileStore } from '../../src/store/json-file.js'

const [, , path = '', task = ''] = process.argv
const silent = { debug() {}, info() {}, warn() {}, error() {} }

if (task === 'shut down') {
  // As apps do it, before anything else.
  process.once('SIGTERM', () => {
    setImmediate(() => {
      process.stdout.write('shut down\n')
      process.exit(0)
    })
  })
}

try {
  const store = openJsonFileStore({ path, clock: Date.now, logger: silent })
  switch (task) {
    case 'exit':
      // The lock and its heartbeat must not keep the process alive.
      process.stdout.write('opened\n')
      break
    case 'hold':
      await store.compareAndSet('oauth_tokens', 'from the child', undefined, { pid: process.pid })
      process.stdout.write('opened\n')
      process.stdin.resume()
      break
    case 'shut down':
      process.stdout.write('opened\n')
      process.stdin.resume()
      break
    case 'outgrow': {
      // The default action of the file size limit's signal is to end the process.
      process.on('SIGXFSZ', () => undefined)
      const set = (key: string, length: number): Promise<unknown> =>
        store
          .compareAndSet('c', key, undefined, { filler: 'x'.repeat(length) })
          .catch((error: unknown) => error)
      const outcomes = [await set('before', 10), await set('too large', 500_000), await set('after', 10)]
      process.stdout.write(
        `${outcomes.map((outcome) => (outcome as Partial<McpDcrError>).message ?? outcome).join('\n')}\n`,
      )
      break
    }
    case 'write':
      // Endless writes of some size, so that a kill comes in the middle of one.
      for (let n = 0; ; n++) {
        await store.compareAndSet('oauth_tokens', `key ${n}`, undefined, { n, filler: 'x'.repeat(200_000) })
        process.stdout.write(`${n}\n`)
      }
  }
} catch (error) {
  process.stdout.write(
    `${error instanceof McpDcrError ? `${error.code}: ${error.message}` : String(error)}\n`,
  )
}
