/** A gateway in front of the upstream, with the middleware, without it, or with the MCP SDK's own OAuth in its place. */
import { Agent } from 'node:http'
import express, { type RequestHandler } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { listen, type Listening } from '../listen.js'
import { memoryInUse, watchResident } from '../memory.js'
import { answerOrders } from '../processes.js'
import { SERVER } from '../fixtures.js'
import { relay } from './relay.js'
import type { SdkSetting } from './sdk-handler.js'

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
let reads = (): number => 0
let watch: ReturnType<typeof watchResident> | undefined

async function start(setting: GatewaySetting): Promise<string> {
  listening?.close()
  await close()
  close = async () => undefined
  const app = express()
  listening = await listen(app)
  const { url } = listening
  if (setting.middleware === 'mcp-dcr') {
    // Whoever goes without has none of it in memory.
    const mounting = await import('./mount.js')
    close = await mounting.mount(app, url, setting)
    reads = mounting.storeReads
  }
  app.get('/other', (_req, res) => void res.json({ ok: true }))
  app.use(`/mcp/${SERVER}`, await handlerOf(setting, url))
  return url
}

async function handlerOf(
  { middleware, by, upstream, users }: GatewaySetting,
  baseUrl: string,
): Promise<RequestHandler> {
  if (typeof middleware === 'object') {
    const { sdkHandler } = await import('./sdk-handler.js')
    return sdkHandler(middleware, upstream, baseUrl, users)
  }
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
  storeReads: () => reads(),
  watchResident() {
    watch = watchResident()
  },
  peakResident: (): number => watch?.stop() ?? NaN,
}

answerOrders(orders)
