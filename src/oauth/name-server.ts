import { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'

/**
 * The same error with the name of the MCP server that it is about: what fetches and reads does not know it,
 * and a log of several servers is of no use without.
 */
export function nameServer(error: unknown, server: Server | undefined): unknown {
  if (!(error instanceof McpDcrError) || error.server !== undefined || server === undefined) return error
  const { code, message, cause, fix = 'Check the URL that the message names.' } = error
  return new McpDcrError(code, message, { server: server.name, fix, cause })
}
