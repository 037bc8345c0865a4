import type { TestProject } from 'vitest/node'
import { startPostgres } from './start-postgres.js'
import { startRedis } from './start-redis.js'
import type { RunningServer } from './start-server.js'

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string
    redisUrl: string
  }
}

/** One Postgres and one Redis for the whole run: those that the environment names, or those that are started for it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { TEST_POSTGRES_URL, TEST_REDIS_URL } = process.env
  const starts = [named(TEST_POSTGRES_URL) ?? startPostgres(), named(TEST_REDIS_URL) ?? startRedis()] as const
  const started = await Promise.allSettled(starts)
  const stop = async (): Promise<void> => {
    for (const it of started) if (it.status === 'fulfilled') await it.value.stop()
  }
  try {
    const [postgres, redis] = await Promise.all(starts)
    project.provide('postgresUrl', postgres.url)
    project.provide('redisUrl', redis.url)
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}

function named(url: string | undefined): Promise<RunningServer> | undefined {
  return url ? Promise.resolve({ url, stop: async () => undefined }) : undefined
}
