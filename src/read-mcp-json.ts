import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { McpDcrError } from './errors.js'
import { isObject } from './json-object.js'
import type { Server } from './model.js'
import { resolveServers } from './resolve-servers.js'
import { suggest } from './suggest.js'

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
  const origin = { code: 'invalid_mcp_json', prefix: `${file}: ` } as const
  const document = parse(text, file)
  const entries = isObject(document) ? document['mcpServers'] : undefined
  if (!isObject(entries)) throw invalidFile(file, 'has no "mcpServers" object')
  const ours = Object.entries(entries).flatMap(([name, entry]) => {
    const fields = isObject(entry) ? ourFields(entry) : entry
    return isObject(fields) && Object.keys(fields).length === 0 ? [] : [[name, fields] as const]
  })
  return resolveServers(Object.fromEntries(ours), origin, 'mcpServers')
}

/** Misspelt ones too, for them to be refused; none for a program. */
function ourFields(entry: Record<string, unknown>): Record<string, unknown> {
  const hasUrl = 'url' in entry
  if (!hasUrl && 'command' in entry) return {}
  const isOurs = (key: string): boolean =>
    hasUrl
      ? ['url', 'path'].includes(key) || suggest(key, ['oauthConfig']) !== undefined
      : suggest(key, ['url']) !== undefined
  return Object.fromEntries(Object.entries(entry).filter(([key]) => isOurs(key)))
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
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (cause) {
    throw invalidFile(file, `is not JSON${positionOf(cause, text)}`)
  }
}

/** Of the parser's message only the position: the rest quotes the file, where secrets are. */
function positionOf(error: unknown, text: string): string {
  const position = /at position (\d+)/.exec((error as Error).message)?.[1]
  if (position === undefined) return ''
  const lines = text.slice(0, Number(position)).split('\n')
  return ` (line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1})`
}

function invalidFile(file: string, what: string, cause?: unknown): McpDcrError {
  return new McpDcrError('invalid_mcp_json', `${file} ${what}.`, {
    cause,
    fix: 'It has to look like {"mcpServers": {"notes": {"url": "https://mcp.example.com/mcp"}}}. Or pass the servers option.',
  })
}
