import { z } from 'zod'
import { issuer, providerProfileSchema } from './provider-profile-schema.js'
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

/** RFC 7517 §4. Whether it is a key shows where it is used; that it is no public one, here. */
const privateJwk = z.looseObject(
  {
    kty: z.enum(['EC', 'RSA', 'OKP'], { error: 'has to be EC, RSA or OKP' }),
    alg: z.string({ error: 'is missing: the signature algorithm, such as ES256' }),
    kid: text.optional(),
    d: z.string({ error: 'is missing: this is not a private key' }),
  },
  { error: 'has to be a private key as a JSON object (JWK)' },
)

const oauthConfigSchema = object({
  authorizationUrl: url.optional(),
  tokenUrl: url.optional(),
  scopes: z
    .union([z.string(), z.array(text)], { error: 'has to be a string or a list of strings' })
    .optional(),
  offlineAccess: flag.optional(),
  clientId: text.optional(),
  clientSecret: text.optional(),
  clientPrivateKey: privateJwk.optional(),
  issuer: url.optional(),
  registrationUrl: url.optional(),
  initialAccessToken: z.union([text, fn], { error: 'has to be a string or a function' }).optional(),
  softwareStatement: text.optional(),
  tokenEndpointAuthMethod: z
    .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'], {
      error: 'has to be none, client_secret_basic, client_secret_post or private_key_jwt',
    })
    .optional(),
  resource: z
    .union([resource, z.literal(false)], { error: 'has to be an absolute URI without fragment, or false' })
    .optional(),
  authorizationParams: authorizationParams.optional(),
  clientMetadata: clientMetadata.optional(),
  dynamicRegistration: flag.optional(),
  defaultEndpoints: flag.optional(),
  dangerouslyAllowMissingPkceMetadata: flag.optional(),
  strictResource: flag.optional(),
}).superRefine((config, ctx) => {
  for (const [member, message] of contradictions(config)) {
    ctx.addIssue({ code: 'custom', path: [member], message })
  }
})

interface ClientOptions {
  readonly clientId?: string | undefined
  readonly clientSecret?: string | undefined
  readonly clientPrivateKey?: unknown
  readonly tokenEndpointAuthMethod?: string | undefined
  readonly dynamicRegistration?: boolean | undefined
  readonly registrationUrl?: string | undefined
}

/** Members that do not go together, and why. */
function* contradictions(config: ClientOptions): Generator<[member: string, message: string]> {
  const { clientId, clientSecret, clientPrivateKey, tokenEndpointAuthMethod: method } = config
  if (config.dynamicRegistration === false && config.registrationUrl !== undefined)
    yield ['registrationUrl', 'has no use: dynamicRegistration is false']
  if (clientId === undefined) {
    if (clientSecret !== undefined) yield ['clientId', 'is missing: clientSecret belongs to a clientId']
    if (clientPrivateKey !== undefined)
      yield ['clientId', 'is missing: clientPrivateKey belongs to a clientId']
    if (method === 'private_key_jwt')
      yield ['tokenEndpointAuthMethod', 'of private_key_jwt is for a clientId with a clientPrivateKey']
    return
  }
  if (clientSecret !== undefined && clientPrivateKey !== undefined)
    yield ['clientPrivateKey', 'and clientSecret exclude each other: a client authenticates in one way']
  if (clientSecret === undefined && method?.startsWith('client_secret') === true)
    yield ['clientSecret', `is missing: ${method} needs it`]
  if (clientPrivateKey === undefined && method === 'private_key_jwt')
    yield ['clientPrivateKey', 'is missing: private_key_jwt needs it']
}

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

/** What a timer takes. */
const milliseconds = z
  .int({ error: 'has to be a whole number of milliseconds' })
  .max(2 ** 31 - 1, { error: 'is too large' })

/** None of any host: anybody has one. */
const trust = z
  .array(
    check(issuer, (value) => !value.startsWith('*/'), 'has to name a host'),
    { error: 'has to be a list of issuers' },
  )
  .min(1, { error: 'must not be empty' })

export const optionsSchema = object({
  baseUrl: baseUrl.optional(),
  servers: z.unknown().optional(),
  user: fn.optional(),
  onAuthorizationRequired: fn.optional(),
  onElicitationComplete: fn.optional(),
  elicitationWait: milliseconds.nonnegative({ error: 'must not be negative' }).optional(),
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
  trust: trust.optional(),
  providers: z.array(providerProfileSchema, { error: 'has to be a list of provider profiles' }).optional(),
  timeout: milliseconds.positive({ error: 'has to be more than 0' }).optional(),
  onEvent: fn.optional(),
  // Not strict: a logger is somebody else's object.
  logger: z
    .looseObject(
      { debug: fn.optional(), info: fn.optional(), warn: fn.optional(), error: fn.optional() },
      { error: 'has to be an object with debug, info, warn and error, or some of them' },
    )
    .optional(),
  clock: fn.optional(),
})
