import * as z from 'zod/mini'
import { quoteUntrusted } from './errors.js'
import { isLoopbackHost } from './security/network.js'
import { suggest } from './suggest.js'

/** Parameters of the authorization request that the flow itself sets. */
const RESERVED_PARAMETERS = [
  'response_type', 'client_id', 'redirect_uri', 'state', 'scope', 'resource',
  'code_challenge', 'code_challenge_method', 'request', 'request_uri',
] // prettier-ignore

/** An object without other members than these; a misspelt one is answered with the nearest. */
export function object<S extends z.core.$ZodLooseShape>(shape: S, fault = 'has to be an object') {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownOption(key, Object.keys(shape))).join(', ')
        : fault,
  })
}

function unknownOption(name: string, known: readonly string[]): string {
  const meant = suggest(name, known)
  const hint = meant === undefined ? '' : ` (did you mean \`${meant}\`?)`
  return `unknown option \`${quoteUntrusted(name)}\`${hint}`
}

export function check<T>(
  schema: z.ZodMiniType<T>,
  isRight: (value: T) => boolean,
  message: string,
): z.ZodMiniType<T> {
  return schema.check(z.refine(isRight, { error: message }))
}

export const text = z
  .string({ error: 'has to be a string' })
  .check(z.minLength(1, { error: 'must not be empty' }))

/** https, or http on loopback; no user name, no fragment. */
export const url = check(
  text,
  (value) => isUrl(value, (u) => u.hash === '' && u.username === '' && u.password === ''),
  'has to be an absolute https URL (http is for loopback alone), without user name and fragment',
)

export function isUrl(value: string, isRight: (url: URL) => boolean): boolean {
  if (!URL.canParse(value)) return false
  const parsed = new URL(value)
  const secure =
    parsed.protocol === 'https:' || (parsed.protocol === 'http:' && isLoopbackHost(parsed.hostname))
  return secure && isRight(parsed)
}

/** RFC 8707 §2: absolute, without fragment. Not only https: there is `api://…`. */
export const resource = check(
  text,
  (value) => URL.canParse(value) && !value.includes('#'),
  'has to be an absolute URI without fragment, or false',
)

export const flag = z.boolean({ error: 'has to be true or false' })

export const fn = z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', {
  error: 'has to be a function',
})

export const authorizationParams = z
  .record(z.string(), z.string({ error: 'has to be a string' }), { error: 'has to be an object' })
  .check(
    z.superRefine((value, ctx) => {
      for (const name of Object.keys(value).filter((key) => RESERVED_PARAMETERS.includes(key))) {
        ctx.addIssue({ code: 'custom', path: [name], message: 'is set by the flow itself; remove it' })
      }
    }),
  )
