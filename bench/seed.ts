import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CredentialStore } from '../src/index.js'
import type { Logger } from '../src/model.js'
import {
  connectionKey,
  createRecords,
  createSealer,
  loadKeys,
  openJsonFileStore,
  registrationKey,
} from './built.js'
import { connectionOf, SERVER, userAt, type Place } from './fixtures.js'

export const ENCRYPTION_KEY = 'the key of the benchmarks, of no use elsewhere'

export const sealer = createSealer(loadKeys({ keys: [ENCRYPTION_KEY], keyFile: '', local: false }))

const nothing = (): void => undefined
const silent: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }

export function openFile(path: string): ReturnType<typeof openJsonFileStore> {
  return openJsonFileStore({ path, clock: Date.now, logger: silent })
}

let root: string | undefined

/** An empty directory that is gone when the process ends. */
export function temporaryDirectory(): string {
  root ??= temporaryRoot()
  return mkdtempSync(join(root, 'store-'))
}

function temporaryRoot(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-bench-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Connections of `count` users, and the client that they were made with. */
export async function seed(
  store: CredentialStore,
  place: Place,
  count: number,
  expired = false,
): Promise<void> {
  const { connections, registrations } = createRecords(store, sealer)
  const { upstream, redirectUri } = place
  await registrations.save(registrationKey(SERVER, upstream, redirectUri), undefined, {
    status: 'registered',
    server: SERVER,
    serverUrl: `${upstream}/mcp`,
    issuer: upstream,
    redirectUri,
    createdAt: Date.now(),
    clientId: 'client-1',
    tokenEndpointAuthMethod: 'none',
  })
  const users = Array.from({ length: count }, (_, n) => userAt(n))
  await Promise.all(
    users.map((user) =>
      connections.save(connectionKey(user, SERVER), undefined, connectionOf(user, place, expired)),
    ),
  )
}
