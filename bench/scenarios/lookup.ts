import { join } from 'node:path'
import { startPostgres } from '../../test/shared-stores/start-postgres.js'
import { startRedis } from '../../test/shared-stores/start-redis.js'
import { startChild, withChildren, type Child } from '../processes.js'
import type { Lookup, Population, StoreKind, Who } from '../programs/lookup.js'
import { KEPT_OPEN } from '../fixtures.js'
import { interleave, median, ratios, spreadOf } from '../rounds.js'
import { openFile, seed, temporaryDirectory } from '../seed.js'
import { atMost, withSpread, type Row, type Scenario } from '../table.js'

const UPSTREAM = 'https://mcp.example.com'

interface Sizes {
  readonly counts: readonly number[]
  readonly rounds: number
  /** How many lookups a round has. */
  readonly times: number
}

const FULL: Sizes = { counts: [100, 10_000, 100_000], rounds: 9, times: 500 }
const QUICK: Sizes = { counts: [100, 500], rounds: 1, times: 100 }

export const lookup: Scenario = {
  name: 'token lookup',
  async run({ quick }) {
    const sizes = quick ? QUICK : FULL
    const populations: Population[] = []
    for (const count of sizes.counts) populations.push(await populate(count))
    const postgres = await startPostgres()
    const redis = await startRedis()
    try {
      return [
        ...(await rowsOf('memory', '', populations, sizes)),
        ...(await rowsOf('JSON file', '', populations, sizes)),
        ...(await rowsOf('Postgres', postgres.url, populations, sizes)),
        ...(await rowsOf('Redis', redis.url, populations, sizes)),
      ]
    } finally {
      await Promise.all([postgres.stop(), redis.stop()])
    }
  },
}

async function populate(count: number): Promise<Population> {
  const path = join(temporaryDirectory(), 'store.json')
  const store = openFile(path)
  await seed(store, { upstream: UPSTREAM, redirectUri: 'http://127.0.0.1:1/api/oauth/callback' }, count)
  await store.close()
  return { path, count, upstream: UPSTREAM }
}

async function rowsOf(
  kind: StoreKind,
  url: string,
  populations: readonly Population[],
  sizes: Sizes,
): Promise<Row[]> {
  const child = startChild<Lookup>('lookup')
  return withChildren([child], async () => {
    let stored = NaN
    for (const population of populations) stored = await child.ask('open', kind, url, population)
    return [
      await curve(child, kind, sizes, 'again'),
      await curve(child, kind, sizes, 'new'),
      await curve(child, kind, sizes, 'in turn'),
      await liveRow(child, kind, sizes),
      await memoryRow(child, kind, sizes, stored),
    ]
  })
}

const WHO: Record<Who, string> = {
  again: 'the same hundred people',
  new: 'people not looked up before',
  'in turn': 'everybody in turn',
}

/** How the time grows from the smallest number of connections to the largest. */
async function curve(
  child: Child<Lookup>,
  kind: StoreKind,
  { counts, rounds, times }: Sizes,
  who: Who,
): Promise<Row> {
  const sides = Object.fromEntries(
    counts.map((count) => [count, () => child.ask('lookUp', count, who, times)]),
  )
  const results = await interleave({ rounds, warmUp: 1 }, sides)
  const figures = counts.map((count) => results[count] ?? [])
  const [smallest = []] = figures
  const largest = figures.at(-1) ?? []
  const growth = spreadOf(ratios(largest, smallest))
  const goal = kind === 'JSON file' ? undefined : atMost(1.5)
  return {
    measure: `${kind}: ${WHO[who]}`,
    ours: `${figures.map((each) => microseconds(median(each))).join(' / ')} µs`,
    against: `with ${counts.map((count) => count.toLocaleString('en')).join(' / ')}`,
    result: withSpread(growth),
    goal,
    reached: goal?.holds(growth.median),
  }
}

function microseconds(figure: number): string {
  return figure < 10 ? figure.toFixed(2) : Math.round(figure).toLocaleString('en')
}

async function liveRow(
  child: Child<Lookup>,
  kind: StoreKind,
  { counts, rounds, times }: Sizes,
): Promise<Row> {
  const largest = counts.at(-1) ?? NaN
  const { live = [] } = await interleave(
    { rounds, warmUp: 1 },
    { live: () => child.ask('lookUpLive', largest, times) },
  )
  const { median: figure, low, high } = spreadOf(live)
  return {
    measure: `${kind}: all that a request waits for`,
    ours: `${microseconds(figure)} µs`,
    against: `with ${largest.toLocaleString('en')}, the same hundred people`,
    result: `${microseconds(figure)} (${microseconds(low)} – ${microseconds(high)})`,
  }
}

async function memoryRow(
  child: Child<Lookup>,
  kind: StoreKind,
  { counts }: Sizes,
  stored: number,
): Promise<Row> {
  const largest = counts.at(-1) ?? NaN
  const remembered = await child.ask('memoryOfRemembered', largest, Math.min(largest, KEPT_OPEN))
  const inProcess = kind === 'memory' || kind === 'JSON file'
  const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`
  return {
    measure: `${kind}: memory of a connection`,
    ours: `${inProcess ? `${kib(stored)} stored, ` : ''}${kib(remembered)} in use`,
    against: `with ${largest.toLocaleString('en')}`,
    result: kib((inProcess ? stored : 0) + remembered),
  }
}
