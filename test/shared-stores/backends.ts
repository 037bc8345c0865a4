import { randomUUID } from 'node:crypto'
import { Pool } from 'pg'
import { createClient } from 'redis'
import { inject } from 'vitest'
import type { CredentialStore } from '../../src/store/contract.js'
import { postgresStore } from '../../src/store/postgres.js'
import { redisStore } from '../../src/store/redis.js'

/** A backend of a test's own, on the server that all share. */
export interface Backend {
  /** A URL by which the command `mcp-dcr` opens it too. */
  readonly url: string
  /** A store with connections of its own, as another process would have. */
  open(clock?: () => number): Promise<CredentialStore>
  /** Ends all connections, and removes everything. */
  remove(): Promise<void>
}

export const BACKENDS: Readonly<Record<string, () => Backend>> = {
  Postgres: postgresBackend,
  Redis: redisBackend,
}

function postgresBackend(): Backend {
  const schema = `test_${randomUUID().replaceAll('-', '')}`
  const pools: Pool[] = []
  const openPool = (): Pool => {
    const pool = new Pool({ connectionString: inject('postgresUrl') })
    pools.push(pool)
    return pool
  }
  return {
    url: withParameter(inject('postgresUrl'), 'schema', schema),
    open: async (clock = Date.now) => postgresStore({ pool: openPool(), schema, clock }),
    async remove() {
      await openPool().query(`drop schema if exists ${schema} cascade`)
      for (const pool of pools) await pool.end()
    },
  }
}

function redisBackend(): Backend {
  const prefix = `test-${randomUUID()}:`
  const clients: { close(): Promise<void> }[] = []
  const openClient = async () => {
    const client = createClient({ url: inject('redisUrl') })
    clients.push(client)
    return client.connect()
  }
  return {
    url: withParameter(inject('redisUrl'), 'prefix', prefix),
    open: async (clock = Date.now) => redisStore({ client: await openClient(), prefix, clock }),
    async remove() {
      const client = await openClient()
      for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 }))
        if (keys.length > 0) await client.unlink(keys)
      for (const each of clients) await each.close()
    },
  }
}

function withParameter(url: string, name: string, value: string): string {
  const changed = new URL(url)
  changed.searchParams.set(name, value)
  return changed.href
}
