import { sendLoad, type Load } from './load.js'
import { comparePairs, sidesOf, type PairedRounds, type Side } from './pair.js'
import { ratioRow, type Goal, type Row } from './table.js'

interface Measured {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p99: number
  /** Microseconds of the gateway's processor for a request: what other processes do disturbs it least. */
  readonly processor: number
}

/**
 * The same requests to both gateways.
 *
 * @param of what is measured, where a scenario compares several. Defaults to nothing
 */
export async function compareLoad(
  users: number,
  load: Omit<Load, 'url'> & { readonly path: string },
  rounds: PairedRounds,
  goals: Partial<Record<keyof Measured, Goal>>,
  of = '',
): Promise<Row[]> {
  const results = await comparePairs(users, rounds, (side) => measure(side, load))
  const row = (figure: keyof Measured, measure: string, unit: string): Row =>
    ratioRow({
      measure: measure + of,
      unit,
      ...sidesOf(results, (it) => it[figure]),
      goal: goals[figure],
    })
  return [
    row('perSecond', 'throughput', 'req/s'),
    row('p99', 'latency, p99', 'ms'),
    row('processor', 'processor time of the gateway for a request', 'µs'),
  ]
}

async function measure(
  { child, url }: Side,
  { path, ...load }: Parameters<typeof compareLoad>[1],
): Promise<Measured> {
  const before = await child.ask('cpuTime')
  const result = await sendLoad({ ...load, url: url + path })
  return { ...result, processor: (((await child.ask('cpuTime')) - before) / load.amount) * 1000 }
}
