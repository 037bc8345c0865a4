import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, it } from 'vitest'
import { createBreaker } from '../../src/store/breaker.js'
import { storeChecks } from '../../src/store/compliance.js'
import type { CredentialStore } from '../../src/store/contract.js'
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

describe('a shared store with its breaker', () => {
  const backends = new Map<string, CredentialStore>()
  const checks = storeChecks({
    shared: true,
    open: (name, clock) => {
      const backend = backends.get(name) ?? { ...memoryStore({ clock }), shared: true }
      backends.set(name, backend)
      return createBreaker(backend, recordingLogger()).store
    },
  })
  it.each(checks)('$name', ({ run }) => run())
})
