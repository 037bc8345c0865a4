import { sendLoad } from '../load.js'
import { withPair } from '../pair.js'
import { interleave } from '../rounds.js'
import { atLeast, ratioRow, type Scenario } from '../table.js'

export const otherRoutes: Scenario = {
  name: 'route that is no MCP server',
  async run({ quick }) {
    const amount = quick ? 1000 : 15_000
    return withPair(1, async ({ ours, without }) => {
      const load = async (url: string): Promise<number> => {
        const requests = [{ method: 'GET' as const }]
        return (await sendLoad({ url: `${url}/other`, requests, connections: 32, amount })).perSecond
      }
      const rounds = quick ? { rounds: 2, warmUp: 1 } : { rounds: 15, warmUp: 2 }
      const results = await interleave(rounds, {
        ours: () => load(ours.url),
        without: () => load(without.url),
      })
      return [
        ratioRow({
          measure: 'throughput',
          unit: 'req/s',
          ours: results.ours,
          against: results.without,
          side: 'without',
          goal: atLeast(0.99),
        }),
      ]
    })
  },
}
