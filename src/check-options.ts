import type { z } from 'zod'
import { McpDcrError, quoteUntrusted, type ErrorCode } from './errors.js'
import { suggest } from './suggest.js'

/** Where options came from, for the error that says what is wrong with them. */
export interface Origin {
  /** The place inside the options, such as `servers.notion`; empty for the options themselves. */
  readonly path: string
  readonly code: ErrorCode
  /** Put in front of the message, such as the file's name. */
  readonly prefix: string
}

export const OPTIONS: Origin = { path: '', code: 'invalid_options', prefix: 'mcpDcr(): ' }

/**
 * Options that fit their schema. Otherwise says of every fault where it is, what it is, and for a misspelt
 * name the right one; never the value, which may be a secret.
 *
 * @throws McpDcrError the origin's code
 */
export function checked<T>(
  schema: z.ZodType<T>,
  value: unknown,
  origin: Origin,
  known: readonly string[],
): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalid(
    origin,
    result.error.issues.flatMap((issue) => describe(issue, origin, known)),
  )
}

export function invalid(origin: Origin, faults: readonly string[]): McpDcrError {
  return new McpDcrError(origin.code, origin.prefix + faults.join('; ') + '.', {
    fix: 'The README lists every option with its default.',
  })
}

function describe(issue: z.core.$ZodIssue, origin: Origin, known: readonly string[]): string[] {
  const place = placeOf(issue.path, origin)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = suggest(key, known)
      const inside = place === '' ? '' : ` in ${place}`
      return `unknown option \`${quoteUntrusted(key)}\`${inside}${meant === undefined ? '' : `: did you mean \`${meant}\`?`}`
    })
  }
  const message =
    issue.code === 'invalid_type' && !isOurs(issue.message)
      ? `has to be of type ${issue.expected}`
      : issue.message
  return [`${place === '' ? 'the options' : `\`${place}\``} ${message}`]
}

function isOurs(message: string): boolean {
  return !message.startsWith('Invalid')
}

function placeOf(path: readonly PropertyKey[], origin: Origin): string {
  return [origin.path, ...path.map(String)].filter((part) => part !== '').join('.')
}
