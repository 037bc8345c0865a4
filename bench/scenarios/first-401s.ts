import { NAVIGATION } from '../requests.js'
import { median } from '../rounds.js'
import { userAt } from '../fixtures.js'
import { exactly, figureRow, ratioRow, type Scenario } from '../table.js'
import { askAllAtOnce, type AtOnce } from './at-once.js'

export const first401s: Scenario = {
  name: 'first 401s at the same time',
  async run({ quick }) {
    const count = quick ? 50 : 1000
    const headers = Array.from({ length: count }, (_, n) => ({ ...NAVIGATION, 'x-user': userAt(n) }))
    const results = await askAllAtOnce(0, headers, quick ? 1 : 5)
    const registrations = (asked: readonly AtOnce[]): number[] =>
      asked.map(({ counts }) => counts['/register'] ?? 0)
    const redirected = results['mcp-dcr'].map(({ statuses }) => statuses[302] ?? 0)
    return [
      figureRow(`registrations, ${count.toLocaleString('en')} users`, registrations(results['mcp-dcr']), '', {
        goal: exactly(1),
        against: (['v1', 'v2'] as const)
          .map((sdk) => `${median(registrations(results[sdk]))} SDK ${sdk}`)
          .join(', '),
      }),
      figureRow('redirected', redirected, '', { goal: exactly(count) }),
      ...(['v1', 'v2'] as const).map((sdk) =>
        ratioRow({
          measure: 'until the last is redirected',
          unit: 'ms',
          ours: results['mcp-dcr'].map((it) => it.milliseconds),
          against: results[sdk].map((it) => it.milliseconds),
          side: `SDK ${sdk}`,
        }),
      ),
    ]
  },
}
