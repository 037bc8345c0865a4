import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { comparePairs, sidesOf, type Side } from '../pair.js'
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
}

export const bodies: Scenario = {
  name: 'large bodies',
  async run({ quick }) {
    const mib = quick ? 8 : 100
    const single = { pairs: 1, rounds: 1, warmUp: 1 }
    const rounds = quick ? single : { pairs: 5, rounds: 7, warmUp: 2 }
    const growthRounds = quick ? single : { pairs: 3, rounds: 5, warmUp: 1 }
    const compare = async (name: string, transfer: Transferring): Promise<Row[]> => {
      const results = await comparePairs(1, rounds, (side) => measure(side, mib, transfer))
      const growth = await comparePairs(1, growthRounds, (side) => growthOf(side, mib, transfer))
      const speeds = sidesOf(results, ({ speed }) => speed)
      const processors = sidesOf(results, ({ processor }) => processor)
      return [
        ratioRow({ measure: `${mib} MiB ${name}`, unit: 'MiB/s', ...speeds, goal: atLeast(0.98) }),
        ratioRow({ measure: 'processor time of the gateway', unit: 'ms', ...processors }),
        differenceRow({
          measure: 'growth of resident memory meanwhile',
          unit: 'MiB',
          ...sidesOf(growth, (it) => it),
          goal: atMost(5, ' MiB more'),
        }),
      ]
    }
    return [...(await compare('down', download)), ...(await compare('up', send))]
  },
}

/** Resolves with the head of the answer. */
type Transferring = (side: Side, bytes: number) => Promise<IncomingMessage>

/**
 * Garbage is collected before: otherwise each process is by chance in one of two states, in one of which V8 collects
 * half as often.
 */
async function measure(side: Side, mib: number, transfer: Transferring): Promise<Transfer> {
  await side.child.ask('memoryInUse')
  const processorBefore = await side.child.ask('cpuTime')
  const startedAt = performance.now()
  await finish(transfer(side, mib * MIB))
  const seconds = (performance.now() - startedAt) / 1000
  const processor = (await side.child.ask('cpuTime')) - processorBefore
  return { speed: mib / seconds, processor }
}

/** By how many MiB the gateway's resident memory grows, at its peak. */
async function growthOf(side: Side, mib: number, transfer: Transferring): Promise<number> {
  const before = await side.child.ask('memoryInUse')
  await side.child.ask('watchResident')
  await finish(transfer(side, mib * MIB))
  return ((await side.child.ask('peakResident')) - before.resident) / MIB
}

async function finish(transferred: Promise<IncomingMessage>): Promise<void> {
  const answer = await transferred
  answer.resume()
  await once(answer, 'end')
  if (answer.statusCode !== 200) throw new Error(`A transfer was answered with ${answer.statusCode}.`)
}

function download({ url }: Side, bytes: number): Promise<IncomingMessage> {
  return ask(`${url}${PATH}/large?bytes=${bytes}`, HEADERS)
}

function send({ url }: Side, bytes: number): Promise<IncomingMessage> {
  return upload(`${url}${PATH}/large`, MCP_HEADERS, bytes)
}
