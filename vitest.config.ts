import { join } from 'node:path'
import { configDefaults, defineConfig } from 'vitest/config'

const source = (name: string): string => join(import.meta.dirname, 'src', name)

/** What needs a Postgres and a Redis: they are started for a run that has some of these. */
const SHARED_STORES = 'test/shared-stores/**/*.test.ts'

export default defineConfig({
  // The example and the documentation import the package by its name, as its users do.
  resolve: {
    alias: [
      { find: /^mcp-dcr$/, replacement: source('index.ts') },
      { find: /^mcp-dcr\/(compliance|postgres|redis)$/, replacement: source('store/$1.ts') },
    ],
  },
  test: {
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 20_000,
    isolate: false,
    maxWorkers: '100%',
    setupFiles: ['test/setup.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'all',
          include: ['test/**/*.test.ts'],
          exclude: [
            ...configDefaults.exclude,
            SHARED_STORES,
            'test/browser/**',
            'test/clients/**',
            'test/keycloak/**',
            'test/package/**',
            'test/deployment/**',
          ],
        },
      },
      {
        extends: true,
        test: {
          name: 'shared stores',
          include: [SHARED_STORES],
          globalSetup: ['test/shared-stores/global-setup.ts'],
        },
      },
    ],
  },
})
