import { median } from '../rounds.js'
import { userAt } from '../fixtures.js'
import { exactly, figureRow, ratioRow, type Scenario } from '../table.js'
import { askAllAtOnce, type AtOnce } from './at-once.js'

const SDKS = ['v1', 'v2'] as const

export const expired: Scenario = {
  name: 'calls on an expired token at the same time',
  async run({ quick }) {
    const count = quick ? 50 : 1000
    const headers = Array.from({ length: count }, () => ({ 'x-user': userAt(0) }))
    const results = await askAllAtOnce(1, headers, quick ? 1 : 5)
    const refreshes = (asked: readonly AtOnce[]): number[] => asked.map(({ counts }) => counts['/token'] ?? 0)
    const failed = (asked: readonly AtOnce[]): number[] =>
      asked.map(({ statuses }) => count - (statuses[200] ?? 0))
    const ofSdks = (figures: (asked: readonly AtOnce[]) => number[]): string =>
      SDKS.map((sdk) => `${median(figures(results[sdk]))} SDK ${sdk}`).join(', ')
    const ours = results['mcp-dcr']
    return [
      figureRow(`refreshes, ${count.toLocaleString('en')} calls`, refreshes(ours), '', {
        goal: exactly(1),
        against: ofSdks(refreshes),
      }),
      figureRow('calls that failed', failed(ours), '', { goal: exactly(0), against: ofSdks(failed) }),
      ...SDKS.map((sdk) =>
        ratioRow({
          measure: 'until the last is answered',
          unit: 'ms',
          ours: ours.map((it) => it.milliseconds),
          against: results[sdk].map((it) => it.milliseconds),
          side: `SDK ${sdk}`,
        }),
      ),
    ]
  },
}
