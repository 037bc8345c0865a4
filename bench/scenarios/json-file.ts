import { join } from 'node:path'
import { startChild, withChildren, type Child } from '../processes.js'
import type { Save, Saved } from '../programs/save.js'
import { interleave, type Rounds } from '../rounds.js'
import { openFile, seed, temporaryDirectory } from '../seed.js'
import { atLeast, atMost, figureRow, ratioRow, type Row, type Scenario } from '../table.js'

/** What one row is measured by. */
interface Size {
  /** How many connections the file has before. */
  readonly records: number
  readonly atOnce: number
  /** How many connections a round makes, with the writes shared and with one for each. */
  readonly shared: number
  readonly alone: number
  readonly rounds: Rounds
}

/** What a write costs grows with the file: from none, both sides end with the same one. */
const FULL: readonly Size[] = [
  { records: 0, atOnce: 1000, shared: 2000, alone: 2000, rounds: { rounds: 3, warmUp: 1 } },
  { records: 10_000, atOnce: 1000, shared: 5000, alone: 30, rounds: { rounds: 7, warmUp: 1 } },
]
const QUICK: readonly Size[] = [0, 200].map((records) => ({
  records,
  atOnce: 50,
  shared: 100,
  alone: 5,
  rounds: { rounds: 1, warmUp: 1 },
}))

export const jsonFile: Scenario = {
  name: 'new connections in the JSON file',
  async run({ quick }) {
    const child = startChild<Save>('save')
    return withChildren([child], async () => {
      const rows: Row[] = []
      for (const size of quick ? QUICK : FULL) rows.push(...(await rowsOf(child, await fileOf(size), size)))
      return rows
    })
  },
}

/** A file to begin with; null for none. */
async function fileOf({ records }: Size): Promise<string | null> {
  if (records === 0) return null
  const path = join(temporaryDirectory(), 'store.json')
  const store = openFile(path)
  await seed(store, { upstream: 'https://mcp.example.com', redirectUri: 'http://127.0.0.1:1' }, records)
  await store.close()
  return path
}

async function rowsOf(child: Child<Save>, from: string | null, size: Size): Promise<Row[]> {
  const { records, atOnce, shared, alone, rounds } = size
  const results = await interleave(rounds, {
    shared: () => child.ask('save', from, shared, atOnce),
    // Each waits for the one before it, and so has a write of its own.
    alone: () => child.ask('save', from, alone, 1),
  })
  const figures = (side: 'shared' | 'alone', figure: keyof Saved): number[] =>
    results[side].map((it) => it[figure])
  const held = from === null ? 'from none' : `from ${records.toLocaleString('en')}`
  const goal = from === null ? {} : { goal: atMost(50, ' ms') }
  return [
    ratioRow({
      measure: `${shared.toLocaleString('en')}, of which ${atOnce.toLocaleString('en')} at the same time, ${held}`,
      unit: 'per s',
      ours: figures('shared', 'perSecond'),
      against: figures('alone', 'perSecond'),
      side: `one write each, of ${alone.toLocaleString('en')}`,
      goal: atLeast(20),
    }),
    figureRow(`longest hold of the event loop, ${held}`, figures('shared', 'longestHold'), 'ms', goal),
    figureRow(`the same, one at a time, ${held}`, figures('alone', 'longestHold'), 'ms', goal),
  ]
}
