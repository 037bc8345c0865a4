import { z } from 'zod'
import { isLoopbackHost } from './security/network.js'

/** Parameters of the authorization request that the flow itself sets. */
const RESERVED_PARAMETERS = [
  'response_type', 'client_id', 'redirect_uri', 'state', 'scope', 'resource',
  'code_challenge', 'code_challenge_method', 'request', 'request_uri',
] // prettier-ignore
/** Client metadata that the flow itself sets. */
const RESERVED_METADATA = ['redirect_uris', 'client_id', 'client_secret', 'grant_types', 'response_types']

function check<T>(schema: z.ZodType<T>, isRight: (value: T) => boolean, message: string): z.ZodType<T> {
  return schema.refine(isRight, { error: message })
}

const text = z.string({ error: 'has to be a string' }).min(1, { error: 'must not be empty' })

/** https, or http on loopback; no user name, no fragment. */
const url = check(
  text,
  (value) => isUrl(value, (u) => u.hash === '' && u.username === '' && u.password === ''),
  'has to be an absolute https URL (http is for loopback alone), without user name and fragment',
)

const baseUrl = check(
  url,
  (value) => isUrl(value, (u) => u.search === ''),
  'has to be an https URL without query (http is for loopback alone): the public URL of this gateway',
)

const clientMetadataUrl = check(
  url,
  (value) => isUrl(value, (u) => u.protocol === 'https:' && u.pathname !== '/'),
  'has to be an https URL with a path: it is the client_id',
)

function isUrl(value: string, isRight: (url: URL) => boolean): boolean {
  if (!URL.canParse(value)) return false
  const parsed = new URL(value)
  const secure =
    parsed.protocol === 'https:' || (parsed.protocol === 'http:' && isLoopbackHost(parsed.hostname))
  return secure && isRight(parsed)
}

const fn = z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', {
  error: 'has to be a function',
})

const authorizationParams = z
  .record(z.string(), z.string({ error: 'has to be a string' }))
  .superRefine((value, ctx) => {
    for (const name of Object.keys(value).filter((key) => RESERVED_PARAMETERS.includes(key))) {
      ctx.addIssue({ code: 'custom', path: [name], message: 'is set by the flow itself; remove it' })
    }
  })

const clientMetadata = z.record(z.string(), z.unknown()).superRefine((value, ctx) => {
  for (const [name, member] of Object.entries(value)) {
    if (RESERVED_METADATA.includes(name)) {
      ctx.addIssue({ code: 'custom', path: [name], message: 'is set by the gateway itself; remove it' })
    } else if (member === null || member === undefined) {
      ctx.addIssue({ code: 'custom', path: [name], message: 'has no value; leave it out' })
    }
  }
})

export const oauthConfigSchema = z
  .strictObject({
    authorizationUrl: url.optional(),
    tokenUrl: url.optional(),
    scopes: z
      .union([z.string(), z.array(text)], { error: 'has to be a string or a list of strings' })
      .optional(),
    clientId: text.optional(),
    clientSecret: text.optional(),
    issuer: url.optional(),
    registrationUrl: url.optional(),
    initialAccessToken: z.union([text, fn], { error: 'has to be a string or a function' }).optional(),
    softwareStatement: text.optional(),
    tokenEndpointAuthMethod: z
      .enum(['none', 'client_secret_basic', 'client_secret_post'], {
        error: 'has to be none, client_secret_basic or client_secret_post',
      })
      .optional(),
    resource: z
      .union([url, z.literal(false)], { error: 'has to be an absolute https URL, or false' })
      .optional(),
    authorizationParams: authorizationParams.optional(),
    clientMetadata: clientMetadata.optional(),
    dangerouslyAllowMissingPkceMetadata: z.boolean({ error: 'has to be true or false' }).optional(),
    strictResource: z.boolean({ error: 'has to be true or false' }).optional(),
  })
  .superRefine(({ clientId, clientSecret, tokenEndpointAuthMethod: method }, ctx) => {
    if (clientSecret !== undefined && clientId === undefined) {
      ctx.addIssue({
        code: 'custom',
        path: ['clientId'],
        message: 'is missing: clientSecret belongs to a clientId',
      })
    }
    if (
      clientId !== undefined &&
      clientSecret === undefined &&
      method?.startsWith('client_secret') === true
    ) {
      ctx.addIssue({ code: 'custom', path: ['clientSecret'], message: `is missing: ${method} needs it` })
    }
  })

const path = check(
  text,
  (value) => /^\/[^?#]*$/.test(value) && !`${value}/`.startsWith('/api/oauth/') && !/^\/+$/.test(value),
  'has to start with "/", name at least one segment, have no query, and not lie under /api/oauth',
)

export const serverOptionsSchema = z.strictObject({
  url,
  path: path.optional(),
  oauthConfig: oauthConfigSchema.optional(),
})

const store = z.union(
  [
    text,
    z.custom<object>(
      (value) =>
        typeof value === 'object' &&
        value !== null &&
        ['get', 'compareAndSet', 'delete', 'list'].every(
          (method) => typeof (value as never)[method] === 'function',
        ),
    ),
  ],
  { error: 'has to be a path, or a store with get, compareAndSet, delete and list' },
)

export const optionsSchema = z.strictObject({
  baseUrl: baseUrl.optional(),
  servers: z.unknown().optional(),
  user: fn.optional(),
  clientName: text.optional(),
  clientMetadataUrl: clientMetadataUrl.optional(),
  encryptionKey: z
    .union([text, z.array(text).min(1)], { error: 'has to be a string or a list of strings' })
    .optional(),
  store: store.optional(),
  allowPrivateNetworks: z
    .array(text, { error: 'has to be a list of hosts, addresses or CIDR ranges' })
    .optional(),
  timeout: z
    .int({ error: 'has to be a whole number of milliseconds' })
    .positive({ error: 'has to be more than 0' })
    .max(2 ** 31 - 1, { error: 'is too large' })
    .optional(),
  // Not strict: a logger is somebody else's object.
  logger: z
    .looseObject({ debug: fn.optional(), info: fn.optional(), warn: fn.optional(), error: fn.optional() })
    .optional(),
  clock: fn.optional(),
})
