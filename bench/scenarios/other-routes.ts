import { compareLoad } from '../compare-load.js'
import { withPair } from '../pair.js'
import { atLeast, type Scenario } from '../table.js'

export const otherRoutes: Scenario = {
  name: 'route that is no MCP server',
  async run({ quick }) {
    const amount = quick ? 500 : 12_000
    const rounds = quick ? { rounds: 2, warmUp: 1 } : { rounds: 13, warmUp: 2 }
    const load = { path: '/other', requests: [{ method: 'GET' as const }], amount }
    return withPair(1, (pair) => compareLoad(pair, load, rounds, { perSecond: atLeast(0.99) }))
  },
}
