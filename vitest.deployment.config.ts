import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/deployment/**/*.test.ts'],
    reporters: ['default', './test/reporter.ts'],
    // They measure, and start processes of their own.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
})
