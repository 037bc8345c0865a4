// Changes a store file before, while and after its disk is full, and says what came of each.
import { rmSync, writeFileSync } from 'node:fs'
import { openJsonFileStore } from '../../build/store/json-file.js'

const [, , path] = process.argv
const filler = `${path}.filler`
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const store = openJsonFileStore({ path, clock: Date.now, logger: silent })

async function change(key) {
  const data = { filler: 'x'.repeat(1000) }
  const said = await store.compareAndSet('oauth_tokens', key, undefined, data).catch((error) => error.message)
  console.log(`${key}: ${said}`)
}

await change('before')
try {
  writeFileSync(filler, 'x'.repeat(2 ** 21))
} catch (error) {
  console.log(error.code)
}
await change('full')
await change('still full')
console.log((await store.get('oauth_tokens', 'before')) === undefined ? 'lost' : 'kept')
rmSync(filler)
await change('after')
await store.close()
