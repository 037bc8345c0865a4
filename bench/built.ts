/** What is measured is what is published, under the types of its sources. */
function built<Module>(name: string): Promise<Module> {
  return import(new URL(`../${name}.js`, import.meta.url).href) as Promise<Module>
}

export const { mcpDcr, memoryStore } = await built<typeof import('../src/index.js')>('dist/index')
export const { createContext } =
  await built<typeof import('../src/create-context.js')>('build/create-context')
export const { resolveOptions } =
  await built<typeof import('../src/resolve-options.js')>('build/resolve-options')
export const { liveConnection } = await built<typeof import('../src/gateway/attach-token.js')>(
  'build/gateway/attach-token',
)
export const { loadKeys } = await built<typeof import('../src/security/keys.js')>('build/security/keys')
export const { createSealer } = await built<typeof import('../src/security/seal.js')>('build/security/seal')
export const { openJsonFileStore } =
  await built<typeof import('../src/store/json-file.js')>('build/store/json-file')
export const { postgresStore } = await built<typeof import('../src/store/postgres.js')>('dist/store/postgres')
export const { redisStore } = await built<typeof import('../src/store/redis.js')>('dist/store/redis')
export const { connectionKey, createRecords, registrationKey } =
  await built<typeof import('../src/store/records.js')>('build/store/records')
