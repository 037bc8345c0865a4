import { check, either, kind, literal, nonEmpty, record, refine } from './schema.js'
import { isLoopbackHost } from './security/network.js'

/** Parameters of the authorization request that the flow itself sets. */
const RESERVED_PARAMETERS = [
  'response_type', 'client_id', 'redirect_uri', 'state', 'scope', 'resource',
  'code_challenge', 'code_challenge_method', 'request', 'request_uri',
] // prettier-ignore

export const string = kind((value) => typeof value === 'string', 'has to be a string')

export const text = nonEmpty(string)

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
const resource = check(
  text,
  (value) => URL.canParse(value) && !value.includes('#'),
  'has to be an absolute URI without fragment, or false',
)

export const resourceOrFalse = either(
  resource,
  literal([false], ''),
  'has to be an absolute URI without fragment, or false',
)

export const flag = kind((value) => typeof value === 'boolean', 'has to be true or false')

export const fn = kind((value) => typeof value === 'function', 'has to be a function')

export const authorizationParams = refine(record(string), (value) =>
  Object.keys(value)
    .filter((name) => RESERVED_PARAMETERS.includes(name))
    .map((name) => ({ path: [name], message: 'is set by the flow itself; remove it' })),
)
