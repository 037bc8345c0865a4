import { parseStored } from './stored-text.js'

/**
 * A key as text that every backend can hold: NUL and lone surrogates are escaped as in JSON, and so are `"` and
 * `\`, so that no two keys share one text. Those that mcp-dcr makes stay as they are.
 */
export function encodeKey(key: string): string {
  return JSON.stringify(key).slice(1, -1)
}

/** @throws McpDcrError `store_corrupt` */
export function decodeKey(text: string): string {
  return parseStored(`"${text}"`) as string
}
