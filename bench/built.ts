/** What is measured is what is published: the modules of `dist`, under the types of their sources. */
function built<Module>(name: string): Promise<Module> {
  return import(new URL(`../dist/${name}.js`, import.meta.url).href) as Promise<Module>
}

export const { mcpDcr, memoryStore } = await built<typeof import('../src/index.js')>('index')
export const { createContext } = await built<typeof import('../src/create-context.js')>('create-context')
export const { resolveOptions } = await built<typeof import('../src/resolve-options.js')>('resolve-options')
export const { liveConnection } =
  await built<typeof import('../src/gateway/attach-token.js')>('gateway/attach-token')
export const { loadKeys } = await built<typeof import('../src/security/keys.js')>('security/keys')
export const { createSealer } = await built<typeof import('../src/security/seal.js')>('security/seal')
export const { openJsonFileStore } =
  await built<typeof import('../src/store/json-file.js')>('store/json-file')
export const { postgresStore } = await built<typeof import('../src/store/postgres.js')>('store/postgres')
export const { redisStore } = await built<typeof import('../src/store/redis.js')>('store/redis')
export const { connectionKey, createRecords, registrationKey } =
  await built<typeof import('../src/store/records.js')>('store/records')
