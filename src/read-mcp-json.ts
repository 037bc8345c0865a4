import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { McpDcrError } from './errors.js'
import type { Server } from './model.js'
import { resolveServers } from './resolve-servers.js'

/**
 * The servers of `mcp.json`: the `mcpServers` shape that MCP hosts share. Entries without a `url` are
 * programs that a host starts (stdio), and what else a host keeps in an entry is not ours: both are passed over.
 *
 * @returns none where there is no such file
 * @throws McpDcrError `invalid_mcp_json`
 */
export function readMcpJson(directory: string): readonly Server[] {
  const file = join(directory, 'mcp.json')
  const text = readIfPresent(file)
  if (text === undefined) return []
  const origin = { path: '', code: 'invalid_mcp_json', prefix: `${file}: ` } as const
  const document = parse(text, file)
  const entries = isObject(document) ? document['mcpServers'] : undefined
  if (!isObject(entries)) throw invalidFile(file, 'has no "mcpServers" object')
  const remote = Object.entries(entries).filter(
    ([, entry]) => typeof entry === 'string' || (isObject(entry) && 'url' in entry),
  )
  const ours = remote.map(([name, entry]) => [name, isObject(entry) ? ourFields(entry) : entry])
  return resolveServers(Object.fromEntries(ours), origin, 'mcpServers')
}

function readIfPresent(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw invalidFile(file, 'cannot be read', cause)
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw invalidFile(file, `is not JSON: ${(cause as Error).message}`)
  }
}

function ourFields({ url, path, oauthConfig }: Record<string, unknown>): Record<string, unknown> {
  return { url, ...(path !== undefined && { path }), ...(oauthConfig !== undefined && { oauthConfig }) }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalidFile(file: string, what: string, cause?: unknown): McpDcrError {
  return new McpDcrError('invalid_mcp_json', `${file} ${what}.`, {
    cause,
    fix: 'It has to look like {"mcpServers": {"notion": {"url": "https://mcp.notion.com/mcp"}}}. Or pass the servers option.',
  })
}
