import { join } from 'node:path'
import { configDefaults, defineConfig } from 'vitest/config'

export default defineConfig({
  // The example imports the package by its name, as its users do.
  resolve: { alias: { 'mcp-dcr': join(import.meta.dirname, 'src/index.ts') } },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [
      ...configDefaults.exclude,
      'test/browser/**',
      'test/clients/**',
      'test/keycloak/**',
      'test/package/**',
      'test/stress/**',
    ],
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 20_000,
  },
})
