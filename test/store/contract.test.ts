import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, it } from 'vitest'
import { storeChecks } from '../../src/store/compliance.js'
import { openJsonFileStore } from '../../src/store/json-file.js'
import { memoryStore } from '../../src/store/memory.js'
import { recordingLogger } from './support.js'

describe('memoryStore', () => {
  const checks = storeChecks({
    shared: false,
    persistent: false,
    open: (_backend, clock) => memoryStore({ clock }),
  })
  it.each(checks)('$name', ({ run }) => run())
})

describe('the JSON file store', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-store-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  const checks = storeChecks({
    shared: false,
    open: (backend, clock) =>
      openJsonFileStore({ path: join(directory, `${backend}.json`), clock, logger: recordingLogger() }),
  })
  it.each(checks)('$name', ({ run }) => run())
})
