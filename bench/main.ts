/**
 * Measures what the package costs, side by side with what does without it, and writes bench/RESULTS.md.
 *
 * `--quick` only sees whether every scenario runs, `--only <words>` takes those whose name has these words; neither
 * writes. `--profile <directory>` has the children write CPU profiles there, `--heap-profile <directory>` those of
 * what they have allocated.
 */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import prettier from 'prettier'
import { profileInto } from './processes.js'
import { renderResults } from './results.js'
import { bodies } from './scenarios/bodies.js'
import { connected } from './scenarios/connected.js'
import { expired } from './scenarios/expired.js'
import { first401s } from './scenarios/first-401s.js'
import { jsonFile } from './scenarios/json-file.js'
import { lookup } from './scenarios/lookup.js'
import { otherRoutes } from './scenarios/other-routes.js'
import { packageScenario } from './scenarios/package.js'
import { redirect } from './scenarios/redirect.js'
import { streams } from './scenarios/streams.js'
import { renderTable, type Outcome, type Scenario, type Settings } from './table.js'

const SCENARIOS: readonly Scenario[] = [
  connected,
  otherRoutes,
  streams,
  bodies,
  redirect,
  first401s,
  expired,
  lookup,
  jsonFile,
  packageScenario,
]

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    profile: { type: 'string' },
    'heap-profile': { type: 'string' },
  },
})

async function runScenario(scenario: Scenario, settings: Settings): Promise<Outcome> {
  const { name } = scenario
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  try {
    const rows = await scenario.run(settings)
    console.error(`${name}: ${seconds().toFixed(1)} s`)
    return { name, rows, seconds: seconds() }
  } catch (error) {
    console.error(`${name} did not run:`, error)
    return { name, rows: [], error, seconds: seconds() }
  }
}

if (values.profile !== undefined) profileInto('cpu', resolve(values.profile))
if (values['heap-profile'] !== undefined) profileInto('heap', resolve(values['heap-profile']))
const { quick, only = '' } = values
const chosen = SCENARIOS.filter(({ name }) => name.includes(only))
if (chosen.length === 0) throw new Error(`No scenario's name has "${only}".`)

const outcomes: Outcome[] = []
// Where no time counts, all at once, so that it takes less of it.
if (quick) outcomes.push(...(await Promise.all(chosen.map((scenario) => runScenario(scenario, { quick })))))
else for (const scenario of chosen) outcomes.push(await runScenario(scenario, { quick }))
console.log(renderTable(outcomes, !quick))

const isProfiled = values.profile !== undefined || values['heap-profile'] !== undefined
const isWhole = !quick && only === '' && !isProfiled
if (isWhole) {
  const path = join(import.meta.dirname, 'RESULTS.md')
  const options = await prettier.resolveConfig(path)
  writeFileSync(path, await prettier.format(renderResults(outcomes), { ...options, parser: 'markdown' }))
}
if (outcomes.some(({ error }) => error !== undefined)) process.exitCode = 1
