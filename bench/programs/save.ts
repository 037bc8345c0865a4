/** New connections in a JSON file. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'
import { connectionKey, createRecords } from '../built.js'
import { answerOrders } from '../processes.js'
import { connectionOf, SERVER } from '../fixtures.js'
import { openFile, sealer, temporaryDirectory } from '../seed.js'

export type Save = typeof orders

export interface Saved {
  readonly perSecond: number
  /** For how long the event loop turned to nothing else, at most; in milliseconds. */
  readonly longestHold: number
}

const PLACE = { upstream: 'https://mcp.example.com', redirectUri: 'http://127.0.0.1:1/api/oauth/callback' }
/** How many begin in one turn of the event loop. As requests on sockets do, a thousand take many turns to arrive. */
const BEGUN_AT_ONCE = 16
/** Milliseconds. */
const RESOLUTION = 1

/** @param from a file to begin with; null begins empty */
async function save(from: string | null, count: number, atOnce: number): Promise<Saved> {
  const path = join(temporaryDirectory(), 'store.json')
  if (from !== null) copyFileSync(from, path)
  const store = openFile(path)
  const { connections } = createRecords(store, sealer)
  global.gc?.()
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION })
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const user = `new-${next++}`
      const isSaved = await connections.save(
        connectionKey(user, SERVER),
        undefined,
        connectionOf(user, PLACE),
      )
      if (!isSaved) throw new Error(`${user} was not saved.`)
    }
  }
  delays.enable()
  const startedAt = performance.now()
  const workers: Promise<void>[] = []
  while (workers.length < atOnce) {
    workers.push(worker())
    if (workers.length % BEGUN_AT_ONCE === 0) await setImmediate()
  }
  await Promise.all(workers)
  const milliseconds = performance.now() - startedAt
  delays.disable()
  await store.close()
  return { perSecond: (count / milliseconds) * 1000, longestHold: delays.max / 1e6 - RESOLUTION }
}

const orders = { save }

answerOrders(orders)
