import { join } from 'node:path'
import type { Express } from 'express'
import type { CredentialStore } from '../../src/index.js'
import { mcpDcr, memoryStore } from '../built.js'
import { SERVER } from '../fixtures.js'
import { ENCRYPTION_KEY, openFile, seed, temporaryDirectory } from '../seed.js'
import type { GatewaySetting } from './gateway.js'

let reads = 0

/** How often a counting store has been read. */
export function storeReads(): number {
  return reads
}

/** Puts the middleware before an app's routes, with users who are connected; returns what ends it. */
export async function mount(
  app: Express,
  baseUrl: string,
  setting: GatewaySetting,
): Promise<() => Promise<void>> {
  const { upstream, users, expired, counting } = setting
  const path = join(temporaryDirectory(), 'store.json')
  const isFile = counting === undefined && setting.store === undefined
  const store = isFile
    ? openFile(path)
    : counting === undefined
      ? memoryStore()
      : countingStore(counting === 'shared')
  await seed(store, { upstream, redirectUri: `${baseUrl}/api/oauth/callback` }, users, expired)
  if (isFile) await store.close?.()
  const dcr = mcpDcr({
    baseUrl,
    servers: { [SERVER]: `${upstream}/mcp` },
    user: (req) => req.get('x-user'),
    encryptionKey: ENCRYPTION_KEY,
    store: isFile ? path : store,
  })
  app.use(dcr)
  return () => dcr.close()
}

function countingStore(shared: boolean): CredentialStore {
  const store = memoryStore()
  return {
    ...store,
    shared,
    get(collection, key) {
      reads++
      return store.get(collection, key)
    },
  }
}
