import { within } from '../within.js'
import { backendError, noAnswer } from './backend-error.js'

/** What is used of a `Pool` of the package pg. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>
  on(event: 'error', listener: (error: Error) => void): unknown
  listenerCount(event: 'error'): number
}

/** What is used of a `PoolClient` of the package pg. */
export interface PostgresClient {
  query(query: PostgresQuery): Promise<PostgresResult>
  on(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
  release(error?: Error): void
}

interface PostgresQuery {
  text: string
  values?: unknown[]
  query_timeout: number
}

export interface PostgresResult {
  rows: Record<string, unknown>[]
  rowCount: number | null
}

/**
 * Runs one statement, which has to be safe to run again where it conflicts.
 *
 * @throws Error what pg throws, or that there was no answer in time
 */
export type Run = (text: string, values?: unknown[]) => Promise<PostgresResult>

const UNDEFINED_TABLE = '42P01'
const UNDEFINED_SCHEMA = '3F000'
const SERIALIZATION_FAILURE = '40001'
const MAX_TRIES = 5

/** @param timeout in milliseconds, for the wait for a connection and the answer together */
export function createRun(pool: PostgresPool, timeout: number): Run {
  // Of an idle connection that is lost, there is nothing to be done, but without a listener it would end the process.
  if (pool.listenerCount('error') === 0) pool.on('error', ignore)

  async function runOnce(text: string, values?: unknown[]): Promise<PostgresResult> {
    let isLate = false
    const query = async (): Promise<PostgresResult> => {
      const client = await pool.connect()
      if (!isLate) return ask(client, { text, ...(values && { values }), query_timeout: timeout })
      client.release()
      throw noAnswer(timeout)
    }
    return within(timeout, query, () => {
      isLate = true
      return noAnswer(timeout)
    })
  }

  return async (text, values) => {
    for (let tries = 1; ; tries++) {
      try {
        return await runOnce(text, values)
      } catch (error) {
        // Where transactions are serializable by default.
        if (codeOf(error) !== SERIALIZATION_FAILURE || tries === MAX_TRIES) throw error
      }
    }
  }
}

async function ask(client: PostgresClient, query: PostgresQuery): Promise<PostgresResult> {
  let failure: Error | undefined
  // The pool has no listener while it lends the connection; that it is lost, the query says as well.
  client.on('error', ignore)
  try {
    return await client.query(query)
  } catch (error) {
    failure = error as Error
    throw error
  } finally {
    client.removeListener('error', ignore)
    // Given back with its error it is closed: nobody knows what state it is in.
    client.release(failure)
  }
}

function ignore(): void {}

/** Whether a table is not there, or its schema. */
export function isMissing(error: unknown): boolean {
  return [UNDEFINED_TABLE, UNDEFINED_SCHEMA].includes(codeOf(error) ?? '')
}

/** Whether the server refused the statement itself, and is not merely out of reach, full or about to stop. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error)
  return code !== undefined && !/^(?:08|28|53300|57)/.test(code)
}

export function postgresError(at: 'read' | 'write', error: unknown): Error {
  return backendError('Postgres', at === 'write' && isRefusal(error) ? 'refused write' : at, error)
}

/** The SQLSTATE of what the server itself said; undefined of what the connection did. */
function codeOf(error: unknown): string | undefined {
  const { severity, code } = error as { severity?: unknown; code?: string }
  return severity === undefined ? undefined : code
}
