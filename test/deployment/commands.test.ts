import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Connection } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import { openJsonFileStore } from '../../src/store/json-file.js'
import { createRecords } from '../../src/store/records.js'
import { createConsumer, packPackage, type Consumer, type Tarball } from '../package/consumer.js'
import { startPostgres } from '../shared-stores/start-postgres.js'
import type { RunningServer } from '../shared-stores/start-server.js'
import { recordingLogger } from '../store/support.js'

const KEY = 'the first key of more than 32 characters'

let tarball: Tarball
let project: Consumer
let postgres: RunningServer

beforeAll(async () => {
  tarball = await packPackage()
  project = await createConsumer(tarball, ['pg'])
  postgres = await startPostgres()
})

afterAll(async () => {
  await postgres?.stop()
  await project?.remove()
  await tarball?.remove()
})

it('runs every command of docs/deployment.md, in order, in a project that uses the package', async () => {
  mkdirSync(join(project.directory, '.mcp-dcr'))
  const store = openJsonFileStore({
    path: join(project.directory, '.mcp-dcr/store.json'),
    clock: Date.now,
    logger: recordingLogger(),
  })
  const sealer = createSealer(loadKeys({ keys: [KEY], keyFile: '', local: false }))
  const connection = { user: 'ann', server: 'notes', accessToken: 'plain' } as Connection
  await createRecords(store, sealer).connections.save('notes/ann', undefined, connection)
  await store.close()

  const documented = readFileSync('docs/deployment.md', 'utf8')
  const commands = [...documented.matchAll(/^ *```sh\n(.*?)^ *```/gms)].map(([, block = '']) => block)
  expect(commands).toHaveLength(8)
  const { status, stdout, stderr } = spawnSync('bash', ['-euxo', 'pipefail', '-c', commands.join('\n')], {
    cwd: project.directory,
    env: { ...process.env, DATABASE_URL: postgres.url, OAUTH_ENCRYPTION_KEY: KEY },
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, expect.anything()])
  // Into the database, into the backup, and back.
  expect(stdout.match(/oauth_tokens: 1 copied, 0 already there/g)).toHaveLength(3)
  expect(stdout).toContain('1 sealed anew')
  expect(readdirSync(project.directory)).toEqual(
    expect.arrayContaining(['store-backup.json', expect.stringMatching(/^backup-\d{8}-\d{6}\.json$/)]),
  )
})
