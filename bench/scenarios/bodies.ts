import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { comparePairs, type Side } from '../pair.js'
import { ask, PATH, upload } from '../requests.js'
import { userAt } from '../fixtures.js'
import { atLeast, atMost, differenceRow, ratioRow, type Row, type Scenario } from '../table.js'

const HEADERS = { authorization: 'Bearer live-client', 'x-user': userAt(0) }
/** Of an MCP client's own post: what it asks for is read ahead. */
const MCP_HEADERS = {
  ...HEADERS,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
}
const MIB = 1024 * 1024

interface Transfer {
  /** MiB per second. */
  readonly speed: number
  /** Milliseconds of the gateway's processor. */
  readonly processor: number
  /** MiB by which the gateway's resident memory grew at its peak. */
  readonly growth: number
}

export const bodies: Scenario = {
  name: 'large bodies',
  async run({ quick }) {
    const mib = quick ? 8 : 100
    const rounds = quick ? { pairs: 1, rounds: 1, warmUp: 1 } : { pairs: 5, rounds: 7, warmUp: 1 }
    const compare = async (name: string, transfer: Transferring): Promise<Row[]> => {
      const results = await comparePairs(1, rounds, (side) => measure(side, mib, transfer))
      const figures = (figure: keyof Transfer) => ({
        ours: results.ours.map((it) => it[figure]),
        against: results.without.map((it) => it[figure]),
        side: 'without',
      })
      return [
        ratioRow({ measure: `${mib} MiB ${name}`, unit: 'MiB/s', ...figures('speed'), goal: atLeast(0.98) }),
        ratioRow({ measure: 'processor time of the gateway', unit: 'ms', ...figures('processor') }),
        differenceRow({
          measure: 'growth of resident memory meanwhile',
          unit: 'MiB',
          ...figures('growth'),
          goal: atMost(5, ' MiB more'),
        }),
      ]
    }
    return [...(await compare('down', download)), ...(await compare('up', send))]
  },
}

/** Resolves with the head of the answer. */
type Transferring = (side: Side, bytes: number) => Promise<IncomingMessage>

async function measure(side: Side, mib: number, transfer: Transferring): Promise<Transfer> {
  const before = await side.child.ask('memoryInUse')
  await side.child.ask('watchResident')
  const processorBefore = await side.child.ask('cpuTime')
  const startedAt = performance.now()
  const answer = await transfer(side, mib * MIB)
  answer.resume()
  await once(answer, 'end')
  const seconds = (performance.now() - startedAt) / 1000
  const processor = (await side.child.ask('cpuTime')) - processorBefore
  const peak = await side.child.ask('peakResident')
  if (answer.statusCode !== 200) throw new Error(`A transfer was answered with ${answer.statusCode}.`)
  return { speed: mib / seconds, processor, growth: (peak - before.resident) / MIB }
}

function download({ url }: Side, bytes: number): Promise<IncomingMessage> {
  return ask(`${url}${PATH}/large?bytes=${bytes}`, HEADERS)
}

function send({ url }: Side, bytes: number): Promise<IncomingMessage> {
  return upload(`${url}${PATH}/large`, MCP_HEADERS, bytes)
}
