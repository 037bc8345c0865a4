import { z } from 'zod'
import { providerProfileSchema } from './provider-profile-schema.js'
import { authorizationParams, check, flag, fn, isUrl, object, resource, text, url } from './schema-parts.js'
import { parseAllowList } from './security/network.js'
import { isServerPath } from './server-path.js'

/** Client metadata that the flow itself sets, or that has an option of its own. */
const RESERVED_METADATA: Readonly<Record<string, string>> = {
  redirect_uris: 'is set by the gateway itself; remove it',
  client_id: 'is set by the gateway itself; remove it',
  client_secret: 'is set by the gateway itself; remove it',
  grant_types: 'is set by the gateway itself; remove it',
  response_types: 'is set by the gateway itself; remove it',
  application_type: 'is set by the gateway itself; remove it',
  scope: 'has an option of its own: set oauthConfig.scopes',
  token_endpoint_auth_method: 'has an option of its own: set oauthConfig.tokenEndpointAuthMethod',
  software_statement: 'has an option of its own: set oauthConfig.softwareStatement',
}

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

const clientMetadata = z
  .record(z.string(), z.unknown(), { error: 'has to be an object' })
  .superRefine((value, ctx) => {
    for (const [name, member] of Object.entries(value)) {
      const reserved = Object.hasOwn(RESERVED_METADATA, name) ? RESERVED_METADATA[name] : undefined
      const message =
        reserved ?? (member === null || member === undefined ? 'has no value; leave it out' : '')
      if (message !== '') ctx.addIssue({ code: 'custom', path: [name], message })
    }
  })

const oauthConfigSchema = object({
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
    .union([resource, z.literal(false)], { error: 'has to be an absolute URI without fragment, or false' })
    .optional(),
  authorizationParams: authorizationParams.optional(),
  clientMetadata: clientMetadata.optional(),
  dynamicRegistration: flag.optional(),
  dangerouslyAllowMissingPkceMetadata: flag.optional(),
  strictResource: flag.optional(),
}).superRefine(({ clientId, clientSecret, tokenEndpointAuthMethod: method, ...registration }, ctx) => {
  if (registration.dynamicRegistration === false && registration.registrationUrl !== undefined) {
    ctx.addIssue({
      code: 'custom',
      path: ['registrationUrl'],
      message: 'has no use: dynamicRegistration is false',
    })
  }
  if (clientSecret !== undefined && clientId === undefined) {
    ctx.addIssue({
      code: 'custom',
      path: ['clientId'],
      message: 'is missing: clientSecret belongs to a clientId',
    })
  }
  if (clientId !== undefined && clientSecret === undefined && method?.startsWith('client_secret') === true) {
    ctx.addIssue({ code: 'custom', path: ['clientSecret'], message: `is missing: ${method} needs it` })
  }
})

const path = check(
  text,
  isServerPath,
  'has to start with "/", name at least one segment, have no query, and not lie under /api/oauth',
)

export const serverOptionsSchema = object(
  { url, path: path.optional(), oauthConfig: oauthConfigSchema.optional() },
  'has to be a URL, or an object with url, path and oauthConfig',
)

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

const network = check(
  text,
  (value) => isAllowListEntry(value),
  'has to be a host without scheme and port, an IP address or a CIDR range',
)

function isAllowListEntry(value: string): boolean {
  try {
    parseAllowList([value])
    return true
  } catch {
    return false
  }
}

export const optionsSchema = object({
  baseUrl: baseUrl.optional(),
  servers: z.unknown().optional(),
  user: fn.optional(),
  admin: fn.optional(),
  clientName: text.optional(),
  clientMetadataUrl: clientMetadataUrl.optional(),
  encryptionKey: z
    .union([text, z.array(text).min(1, { error: 'must not be empty' })], {
      error: 'has to be a string or a list of strings',
    })
    .optional(),
  store: store.optional(),
  allowPrivateNetworks: z
    .array(network, { error: 'has to be a list of hosts, addresses or CIDR ranges' })
    .optional(),
  providers: z.array(providerProfileSchema, { error: 'has to be a list of provider profiles' }).optional(),
  timeout: z
    .int({ error: 'has to be a whole number of milliseconds' })
    .positive({ error: 'has to be more than 0' })
    .max(2 ** 31 - 1, { error: 'is too large' })
    .optional(),
  // Not strict: a logger is somebody else's object.
  logger: z
    .looseObject(
      { debug: fn.optional(), info: fn.optional(), warn: fn.optional(), error: fn.optional() },
      { error: 'has to be an object with debug, info, warn and error, or some of them' },
    )
    .optional(),
  clock: fn.optional(),
})
