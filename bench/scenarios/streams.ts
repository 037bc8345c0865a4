import { once } from 'node:events'
import { Agent, type IncomingMessage } from 'node:http'
import { withPair, type Side } from '../pair.js'
import { ask, PATH } from '../requests.js'
import { interleave, median } from '../rounds.js'
import { userAt } from '../fixtures.js'
import { atMost, differenceRow, type Scenario } from '../table.js'

const HEADERS = { accept: 'text/event-stream', authorization: 'Bearer live-client', 'x-user': userAt(0) }
const KIB = 1024

export const streams: Scenario = {
  name: 'SSE',
  async run({ quick }) {
    const opened = quick ? 5 : 50
    const open = quick ? 50 : 1000
    return withPair(1, async ({ ours, without }) => {
      const times = await interleave(quick ? { rounds: 2, warmUp: 1 } : { rounds: 15, warmUp: 2 }, {
        ours: () => timeToFirstEvent(ours, opened),
        without: () => timeToFirstEvent(without, opened),
      })
      const memory = await interleave(quick ? { rounds: 1, warmUp: 1 } : { rounds: 5, warmUp: 2 }, {
        ours: () => memoryOfStreams(ours, open),
        without: () => memoryOfStreams(without, open),
      })
      return [
        differenceRow({
          measure: 'time to the first event',
          unit: 'ms',
          ours: times.ours,
          against: times.without,
          side: 'without',
          goal: atMost(1, ' ms more'),
        }),
        differenceRow({
          measure: `memory of a stream, ${open.toLocaleString('en')} open`,
          unit: 'KiB',
          ours: memory.ours,
          against: memory.without,
          side: 'without',
          goal: atMost(4, ' KiB more'),
        }),
      ]
    })
  },
}

/** The median of some streams, opened one after the other, in milliseconds. */
async function timeToFirstEvent({ url }: Side, count: number): Promise<number> {
  const agent = new Agent({ keepAlive: true })
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const startedAt = performance.now()
    const stream = await openStream(url, agent)
    times.push(performance.now() - startedAt)
    stream.destroy()
  }
  return median(times)
}

/** What the gateway's heap grows by, for each of so many streams, in KiB. */
async function memoryOfStreams({ child, url }: Side, count: number): Promise<number> {
  const before = await child.ask('memoryInUse')
  const agent = new Agent({ maxSockets: Infinity })
  const all = await Promise.all(Array.from({ length: count }, () => openStream(url, agent)))
  const after = await child.ask('memoryInUse')
  await Promise.all(
    all.map(async (stream) => {
      stream.destroy()
      await once(stream, 'close')
    }),
  )
  return (after.heap - before.heap) / count / KIB
}

/** Resolves once the first event is there. */
async function openStream(url: string, agent: Agent): Promise<IncomingMessage> {
  const stream = await ask(`${url}${PATH}/events`, HEADERS, agent)
  // An aborted stream is what they all end as.
  stream.on('error', () => undefined)
  await once(stream, 'data')
  return stream
}
