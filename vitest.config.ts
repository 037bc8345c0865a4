import { configDefaults, defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/browser/**', 'test/keycloak/**', 'test/package/**'],
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 20_000,
  },
})
