import * as z from 'zod/mini'
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

const clientMetadata = z.record(z.string(), z.unknown(), { error: 'has to be an object' }).check(
  z.superRefine((value, ctx) => {
    for (const [name, member] of Object.entries(value)) {
      const reserved = Object.hasOwn(RESERVED_METADATA, name) ? RESERVED_METADATA[name] : undefined
      const message =
        reserved ?? (member === null || member === undefined ? 'has no value; leave it out' : '')
      if (message !== '') ctx.addIssue({ code: 'custom', path: [name], message })
    }
  }),
)

/** RFC 7517 §4. Whether it is a key shows where it is used; that it is no public one, here. */
const privateJwk = z.looseObject(
  {
    kty: z.enum(['EC', 'RSA', 'OKP'], { error: 'has to be EC, RSA or OKP' }),
    alg: z.string({ error: 'is missing: the signature algorithm, such as ES256' }),
    kid: z.optional(text),
    d: z.string({ error: 'is missing: this is not a private key' }),
  },
  { error: 'has to be a private key as a JSON object (JWK)' },
)

const oauthConfigSchema = object({
  authorizationUrl: z.optional(url),
  tokenUrl: z.optional(url),
  scopes: z.optional(
    z.union([z.string(), z.array(text)], { error: 'has to be a string or a list of strings' }),
  ),
  offlineAccess: z.optional(flag),
  clientId: z.optional(text),
  clientSecret: z.optional(text),
  clientPrivateKey: z.optional(privateJwk),
  issuer: z.optional(url),
  registrationUrl: z.optional(url),
  initialAccessToken: z.optional(z.union([text, fn], { error: 'has to be a string or a function' })),
  softwareStatement: z.optional(text),
  tokenEndpointAuthMethod: z.optional(
    z.enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'], {
      error: 'has to be none, client_secret_basic, client_secret_post or private_key_jwt',
    }),
  ),
  resource: z.optional(
    z.union([resource, z.literal(false)], { error: 'has to be an absolute URI without fragment, or false' }),
  ),
  authorizationParams: z.optional(authorizationParams),
  clientMetadata: z.optional(clientMetadata),
  dynamicRegistration: z.optional(flag),
  defaultEndpoints: z.optional(flag),
  dangerouslyAllowMissingPkceMetadata: z.optional(flag),
  strictResource: z.optional(flag),
}).check(
  z.superRefine((config, ctx) => {
    for (const [member, message] of contradictions(config)) {
      ctx.addIssue({ code: 'custom', path: [member], message })
    }
  }),
)

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
  { url, path: z.optional(path), oauthConfig: z.optional(oauthConfigSchema) },
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
  .check(z.maximum(2 ** 31 - 1, { error: 'is too large' }))

/** None of any host: anybody has one. */
const trust = z
  .array(
    check(issuer, (value) => !value.startsWith('*/'), 'has to name a host'),
    { error: 'has to be a list of issuers' },
  )
  .check(z.minLength(1, { error: 'must not be empty' }))

export const optionsSchema = object({
  baseUrl: z.optional(baseUrl),
  servers: z.optional(z.unknown()),
  user: z.optional(fn),
  onAuthorizationRequired: z.optional(fn),
  onElicitationComplete: z.optional(fn),
  elicitationWait: z.optional(milliseconds.check(z.nonnegative({ error: 'must not be negative' }))),
  admin: z.optional(fn),
  clientName: z.optional(text),
  clientMetadataUrl: z.optional(clientMetadataUrl),
  encryptionKey: z.optional(
    z.union([text, z.array(text).check(z.minLength(1, { error: 'must not be empty' }))], {
      error: 'has to be a string or a list of strings',
    }),
  ),
  store: z.optional(store),
  allowPrivateNetworks: z.optional(
    z.array(network, { error: 'has to be a list of hosts, addresses or CIDR ranges' }),
  ),
  trust: z.optional(trust),
  providers: z.optional(z.array(providerProfileSchema, { error: 'has to be a list of provider profiles' })),
  timeout: z.optional(milliseconds.check(z.positive({ error: 'has to be more than 0' }))),
  onEvent: z.optional(fn),
  // Not strict: a logger is somebody else's object.
  logger: z.optional(
    z.looseObject(
      { debug: z.optional(fn), info: z.optional(fn), warn: z.optional(fn), error: z.optional(fn) },
      { error: 'has to be an object with debug, info, warn and error, or some of them' },
    ),
  ),
  clock: z.optional(fn),
})
