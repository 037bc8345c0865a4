import type { Reporter, TestModule } from 'vitest/node'

/**
 * Prints the totals alone on the last line, for CI. What fails outside of a test (a file that does not
 * load, a hook, an unhandled rejection) counts as one failure each; a run without a single test fails.
 */
export default class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) count[test.result().state]++
      for (const suite of [module, ...module.children.allSuites()])
        count.failed += Math.min(1, suite.errors().length)
    }
    const skipped = count.skipped + count.pending
    if (count.passed + count.failed === 0) process.exitCode = 1
    console.log(
      `${count.passed} passed, ${count.failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`,
    )
  }
}
