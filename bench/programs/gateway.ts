/** A gateway in front of the upstream, with the middleware, without it, or with the MCP SDK's own OAuth in its place. */
import { Agent } from 'node:http'
import { join } from 'node:path'
import express, { type Express } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import type { CredentialStore } from '../../src/index.js'
import { mcpDcr, memoryStore } from '../built.js'
import { listen, type Listening } from '../listen.js'
import { memoryInUse, watchResident } from '../memory.js'
import { answerOrders } from '../processes.js'
import { SERVER } from '../fixtures.js'
import { ENCRYPTION_KEY, openFile, seed, temporaryDirectory } from '../seed.js'
import { relay } from './relay.js'
import { sdkHandler, type SdkSetting } from './sdk-handler.js'

export type Gateway = typeof orders

export interface GatewaySetting {
  readonly upstream: string
  /** What signs people in. */
  readonly middleware: 'mcp-dcr' | 'none' | SdkSetting
  /** How requests reach the upstream. */
  readonly by: 'http-proxy-middleware' | 'fetch'
  /** How many users are connected already. */
  readonly users: number
  /** Whether their tokens have expired. */
  readonly expired?: boolean
  /** Where credentials are kept. Defaults to the JSON file. */
  readonly store?: 'memory'
  /** A store that counts how often it is read, instead. */
  readonly counting?: 'one process' | 'shared'
}

let listening: Listening | undefined
let close: () => Promise<void> = async () => undefined
let reads = 0
let watch: ReturnType<typeof watchResident> | undefined

async function start(setting: GatewaySetting): Promise<string> {
  listening?.close()
  await close()
  close = async () => undefined
  const app = express()
  listening = await listen(app)
  const { url } = listening
  if (setting.middleware === 'mcp-dcr') await mount(app, url, setting)
  app.get('/other', (_req, res) => void res.json({ ok: true }))
  app.use(`/mcp/${SERVER}`, handlerOf(setting, url))
  return url
}

async function mount(app: Express, baseUrl: string, setting: GatewaySetting): Promise<void> {
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
  close = () => dcr.close()
  app.use(dcr)
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

function handlerOf({ middleware, by, upstream, users }: GatewaySetting, baseUrl: string) {
  if (typeof middleware === 'object') return sdkHandler(middleware, upstream, baseUrl, users)
  if (by === 'fetch') return relay(upstream)
  const target = `${upstream}/mcp`
  return createProxyMiddleware({
    target,
    changeOrigin: true,
    pathRewrite: { '^/$': '' },
    agent: new Agent({ keepAlive: true }),
  })
}

const orders = {
  start,
  memoryInUse,
  /** Since the start of the process, in milliseconds. */
  cpuTime(): number {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  storeReads: (): number => reads,
  watchResident() {
    watch = watchResident()
  },
  peakResident: (): number => watch?.stop() ?? NaN,
}

answerOrders(orders)
