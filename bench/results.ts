import { createRequire } from 'node:module'
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os'
import { renderTable, type Outcome } from './table.js'

/** What the figures depend on beside the package itself. */
const PACKAGES = [
  'express',
  'http-proxy-middleware',
  'undici',
  '@modelcontextprotocol/sdk',
  '@modelcontextprotocol/client',
  'express-openid-connect',
  'autocannon',
  'pg',
  'redis',
]

const loadBefore = loadavg()[0] ?? NaN

/** The whole of RESULTS.md. */
export function renderResults(outcomes: readonly Outcome[]): string {
  const [cpu] = cpus()
  const seconds = outcomes.reduce((sum, outcome) => sum + outcome.seconds, 0)
  return `# Results of the benchmarks

Written by \`npm run bench\`; [docs/performance.md](../docs/performance.md) says what the figures rest on.

- Date: ${new Date().toISOString().slice(0, 10)}, a run of ${Math.round(seconds / 60)} minutes
- Machine: ${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()} ${arch()}; load before the run ${loadBefore.toFixed(2)}
- Node.js ${process.versions.node}, V8 ${process.versions.v8}
- ${PACKAGES.map((name) => `${name} ${versionOf(name)}`).join(', ')}

Both sides run in one process tree, in turns, after a warm-up. A result is the median of the rounds with the lower
and the upper quartile in parentheses: of the ratio of mcp-dcr to what it is measured against, round by round, or of
the difference where it says "more".

${renderTable(outcomes, true)}
`
}

function versionOf(name: string): string {
  const require = createRequire(import.meta.url)
  for (const directory of require.resolve.paths(name) ?? []) {
    try {
      return (require(`${directory}/${name}/package.json`) as { version: string }).version
    } catch {
      // It is further up.
    }
  }
  return 'unknown'
}
