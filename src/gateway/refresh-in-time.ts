import { McpDcrError } from '../errors.js'
import type { Connection, Server } from '../model.js'
import { refresh } from '../oauth/refresh.js'
import { within } from '../within.js'
import type { GatewayContext } from './context.js'

/**
 * As `refresh`, but no request waits for it longer than the `timeout` option says: each of its steps is bounded,
 * a secret to be renewed first and the lease of another instance too, but not their sum. It goes on by itself, and
 * the next request finds what it has brought.
 *
 * @throws McpDcrError `refresh_failed` where it takes longer, and what `refresh` throws
 */
export function refreshInTime(
  context: GatewayContext,
  server: Server,
  stale: Connection,
): Promise<Connection | undefined> {
  const { timeout } = context.oauth
  return within(
    timeout,
    () => refresh(context.oauth, server, stale),
    () => tookTooLong(server, timeout),
  )
}

function tookTooLong({ name }: Server, timeout: number): McpDcrError {
  return new McpDcrError('refresh_failed', `The connection was not refreshed within ${timeout} ms.`, {
    server: name,
    fix: 'Try again in a moment; the connection is kept.',
  })
}
