import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { environment, mcpDcrCommand } from '../cli/support.js'
import { BACKENDS, type Backend } from './backends.js'

let directory: string
let backend: Backend
let to: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  to = join(directory, 'to.json')
  environment['OAUTH_ENCRYPTION_KEY'] = 'a key of more than 32 characters for tests'
})

afterEach(async () => {
  delete environment['OAUTH_ENCRYPTION_KEY']
  await backend.remove()
  rmSync(directory, { recursive: true })
})

const COMMANDS: [string, (store: string) => string[]][] = [
  ['migrate', (store) => ['migrate', '--from', store, '--to', to]],
  ['reseal', (store) => ['reseal', '--store', store]],
]

describe.each(COMMANDS)('mcp-dcr %s', (_name, argumentsFor) => {
  it('of a Postgres without the tables says so, and makes none', async () => {
    backend = BACKENDS['Postgres']!()
    const { code, errors } = await mcpDcrCommand(...argumentsFor(backend.url))
    expect([code, errors]).toEqual([1, expect.stringMatching(/There is no store in Postgres at .*no table/)])
    const pool = new Pool({ connectionString: inject('postgresUrl') })
    const schema = new URL(backend.url).searchParams.get('schema')
    const { rows } = await pool.query('select 1 from pg_namespace where nspname = $1', [schema])
    await pool.end()
    expect([rows, existsSync(to)]).toEqual([[], false])
  })

  it.each(Object.keys(BACKENDS))('of an empty %s says so, and fails', async (kind) => {
    backend = BACKENDS[kind]!()
    const store = await backend.open()
    await store.compareAndSet('leases', 'x', undefined, {})
    const { code, errors } = await mcpDcrCommand(...argumentsFor(backend.url))
    expect([code, errors]).toEqual([1, expect.stringMatching(/There is nothing (to copy|in it)/)])
    expect(existsSync(to)).toBe(false)
  })
})
