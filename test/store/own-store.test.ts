import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { temporaryDirectory } from './support.js'

const ROOT = join(import.meta.dirname, '../..')

it('the store of docs/stores.md passes its checks, run by node:test', { timeout: 60_000 }, async () => {
  const page = readFileSync(join(ROOT, 'docs/stores.md'), 'utf8')
  const section = page.slice(page.indexOf('\n## Write your own'))
  const [, code = ''] = /^```ts\n(.*?)^```$/ms.exec(section) ?? []
  const file = join(temporaryDirectory(), 'own-store.test.mts')
  writeFileSync(file, code)
  // The package by its name, as tsconfig.json has it.
  const env = { ...process.env, TSX_TSCONFIG_PATH: join(ROOT, 'tsconfig.json'), NODE_OPTIONS: '' }
  const args = ['--import', 'tsx', '--test-reporter=tap', file]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env })
  expect(stdout).toMatch(/^# fail 0$/m)
  expect(Number(/^# pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(20)
})
