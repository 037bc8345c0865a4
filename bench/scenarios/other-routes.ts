import { compareLoad } from '../compare-load.js'
import { atLeast, type Scenario } from '../table.js'

export const otherRoutes: Scenario = {
  name: 'route that is no MCP server',
  async run({ quick }) {
    const amount = quick ? 500 : 12_000
    const rounds = quick ? { pairs: 1, rounds: 2, warmUp: 1 } : { pairs: 3, rounds: 5, warmUp: 2 }
    const load = { path: '/other', requests: [{ method: 'GET' as const }], amount }
    return compareLoad(1, load, rounds, { perSecond: atLeast(0.99) })
  },
}
