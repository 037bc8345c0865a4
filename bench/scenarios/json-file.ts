import { join } from 'node:path'
import { startChild, withChildren, type Child } from '../processes.js'
import type { Save, Saved } from '../programs/save.js'
import { interleave, type Rounds } from '../rounds.js'
import { openFile, seed, temporaryDirectory } from '../seed.js'
import { atLeast, atMost, figureRow, ratioRow, type Row, type Scenario } from '../table.js'

interface Sizes {
  readonly records: number
  readonly atOnce: number
  /** How many connections a round makes, with the writes shared and with one for each. */
  readonly shared: number
  readonly alone: number
  readonly rounds: Rounds
}

const FULL: Sizes = {
  records: 10_000,
  atOnce: 1000,
  shared: 5000,
  alone: 30,
  rounds: { rounds: 7, warmUp: 1 },
}
const QUICK: Sizes = { records: 200, atOnce: 50, shared: 100, alone: 5, rounds: { rounds: 1, warmUp: 1 } }

export const jsonFile: Scenario = {
  name: 'new connections in the JSON file',
  async run({ quick }) {
    const sizes = quick ? QUICK : FULL
    const path = join(temporaryDirectory(), 'store.json')
    const store = openFile(path)
    await seed(
      store,
      { upstream: 'https://mcp.example.com', redirectUri: 'http://127.0.0.1:1' },
      sizes.records,
    )
    await store.close()
    const child = startChild<Save>('save')
    return withChildren([child], async () => [
      ...(await rowsOf(child, null, sizes)),
      ...(await rowsOf(child, path, sizes)),
    ])
  },
}

/** @param from the file to begin with; null begins empty */
async function rowsOf(child: Child<Save>, from: string | null, sizes: Sizes): Promise<Row[]> {
  const { records, atOnce, shared, alone, rounds } = sizes
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
      measure: `${atOnce.toLocaleString('en')} at the same time, ${held}`,
      unit: 'per s',
      ours: figures('shared', 'perSecond'),
      against: figures('alone', 'perSecond'),
      side: 'one write each',
      goal: atLeast(20),
    }),
    figureRow(`longest hold of the event loop, ${held}`, figures('shared', 'longestHold'), 'ms', goal),
    figureRow(`the same, one at a time, ${held}`, figures('alone', 'longestHold'), 'ms', goal),
  ]
}
