// Changes a store file until it is killed, and says of each change that it is acknowledged. Plain JavaScript on the
// built package, since it is started two hundred times.
import { openJsonFileStore } from '../../build/store/json-file.js'

const [, , path, run, changes = 'Infinity'] = process.argv
const silent = { debug() {}, info() {}, warn() {}, error() {} }

const store = openJsonFileStore({ path, clock: Date.now, logger: silent })
for (let n = 0; n < Number(changes); n++) {
  // Several at once, which share their writes; one of them is changed again and again.
  const counter = await store.get('oauth_tokens', 'counter')
  const outcomes = await Promise.allSettled([
    store.compareAndSet('oauth_tokens', `${run}-${n}`, undefined, { n, filler: 'x'.repeat(100) }),
    store.compareAndSet('oauth_client_registrations', `${run}-${n}`, undefined, { n }),
    store.compareAndSet('oauth_tokens', 'counter', counter?.version, { run, n }),
  ])
  const failed = outcomes.find(({ status }) => status === 'rejected')
  process.stdout.write(
    failed === undefined ? `${run}-${n}\n` : `${failed.reason.code} ${failed.reason.message}\n`,
  )
}
await store.close()
