import type * as z from 'zod/mini'
import { McpDcrError, type ErrorCode } from './errors.js'

/** Where options came from, for the error that says what is wrong with them. */
export interface Origin {
  readonly code: ErrorCode
  /** Put in front of the message, such as the file's name. */
  readonly prefix: string
}

export const OPTIONS: Origin = { code: 'invalid_options', prefix: 'mcpDcr(): ' }

/**
 * What keeps a value from fitting its schema: where each fault is and what it is, one per place. It never
 * shows a value, which may be a secret; the schemas' own messages keep to that too.
 *
 * @param place inside the options, such as `servers.notion`; empty for the options themselves
 */
export function faultsOf(schema: z.ZodMiniType, value: unknown, place = ''): string[] {
  const result = schema.safeParse(value)
  if (result.success) return []
  const faults = new Map<string, string>()
  for (const issue of result.error.issues) {
    const where = [place, ...issue.path.map(String)].filter((part) => part !== '').join('.')
    if (!faults.has(where)) faults.set(where, faultAt(where, issue))
  }
  return [...faults.values()]
}

function faultAt(where: string, { code, message }: z.core.$ZodIssue): string {
  if (code === 'unrecognized_keys') return where === '' ? message : `\`${where}\`: ${message}`
  return where === '' ? `the argument ${message}` : `\`${where}\` ${message}`
}

/** @throws McpDcrError the origin's code, with all faults in one message, if there are any */
export function refuse(faults: readonly string[], { code, prefix }: Origin): void {
  if (faults.length === 0) return
  throw new McpDcrError(code, `${prefix}${faults.join('; ')}.`, {
    fix: 'The README lists every option with its default.',
  })
}
