import { issuer, providerProfileSchema } from './provider-profile-schema.js'
import {
  anything,
  check,
  either,
  kind,
  list,
  literal,
  nonEmpty,
  object,
  openObject,
  optional,
  record,
  refine,
  type Fault,
} from './schema.js'
import { authorizationParams, flag, fn, isUrl, resourceOrFalse, string, text, url } from './schema-parts.js'
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

const clientMetadata = refine(record(anything), function* (value): Generator<Fault> {
  for (const [name, member] of Object.entries(value)) {
    const reserved = Object.hasOwn(RESERVED_METADATA, name) ? RESERVED_METADATA[name] : undefined
    const message = reserved ?? (member === null || member === undefined ? 'has no value; leave it out' : '')
    if (message !== '') yield { path: [name], message }
  }
})

/** RFC 7517 §4. Whether it is a key shows where it is used; that it is no public one, here. */
const privateJwk = openObject(
  {
    kty: literal(['EC', 'RSA', 'OKP'], 'has to be EC, RSA or OKP'),
    alg: { ...string, otherwise: 'is missing: the signature algorithm, such as ES256' },
    kid: optional(text),
    d: { ...string, otherwise: 'is missing: this is not a private key' },
  },
  'has to be a private key as a JSON object (JWK)',
)

const oauthConfigSchema = refine(
  object({
    authorizationUrl: optional(url),
    tokenUrl: optional(url),
    scopes: optional(either(string, list(text, ''), 'has to be a string or a list of strings')),
    offlineAccess: optional(flag),
    clientId: optional(text),
    clientSecret: optional(text),
    clientPrivateKey: optional(privateJwk),
    issuer: optional(url),
    registrationUrl: optional(url),
    initialAccessToken: optional(either(text, fn, 'has to be a string or a function')),
    softwareStatement: optional(text),
    tokenEndpointAuthMethod: optional(
      literal(
        ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
        'has to be none, client_secret_basic, client_secret_post or private_key_jwt',
      ),
    ),
    resource: optional(resourceOrFalse),
    authorizationParams: optional(authorizationParams),
    clientMetadata: optional(clientMetadata),
    dynamicRegistration: optional(flag),
    defaultEndpoints: optional(flag),
    dangerouslyAllowMissingPkceMetadata: optional(flag),
    strictResource: optional(flag),
  }),
  contradictions,
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
function* contradictions(config: ClientOptions): Generator<Fault> {
  const fault = (member: keyof ClientOptions, message: string): Fault => ({ path: [member], message })
  const { clientId, clientSecret, clientPrivateKey, tokenEndpointAuthMethod: method } = config
  if (config.dynamicRegistration === false && config.registrationUrl !== undefined)
    yield fault('registrationUrl', 'has no use: dynamicRegistration is false')
  if (clientId === undefined) {
    if (clientSecret !== undefined) yield fault('clientId', 'is missing: clientSecret belongs to a clientId')
    if (clientPrivateKey !== undefined)
      yield fault('clientId', 'is missing: clientPrivateKey belongs to a clientId')
    if (method === 'private_key_jwt')
      yield fault('tokenEndpointAuthMethod', 'of private_key_jwt is for a clientId with a clientPrivateKey')
    return
  }
  if (clientSecret !== undefined && clientPrivateKey !== undefined)
    yield fault('clientPrivateKey', 'and clientSecret exclude each other: a client authenticates in one way')
  if (clientSecret === undefined && method?.startsWith('client_secret') === true)
    yield fault('clientSecret', `is missing: ${method} needs it`)
  if (clientPrivateKey === undefined && method === 'private_key_jwt')
    yield fault('clientPrivateKey', 'is missing: private_key_jwt needs it')
}

const path = check(
  text,
  isServerPath,
  'has to start with "/", name at least one segment, have no query, and not lie under /api/oauth',
)

export const serverOptionsSchema = object(
  { url, path: optional(path), oauthConfig: optional(oauthConfigSchema) },
  'has to be a URL, or an object with url, path and oauthConfig',
)

const ownStore = kind(
  (value): value is object =>
    typeof value === 'object' &&
    value !== null &&
    ['get', 'compareAndSet', 'delete', 'list'].every(
      (method) => typeof (value as never)[method] === 'function',
    ),
  '',
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
const milliseconds = check(
  kind((value): value is number => Number.isSafeInteger(value), 'has to be a whole number of milliseconds'),
  (value) => value < 2 ** 31,
  'is too large',
)

/** None of any host: anybody has one. */
const trust = nonEmpty(
  list(
    check(issuer, (value) => !value.startsWith('*/'), 'has to name a host'),
    'has to be a list of issuers',
  ),
)

export const optionsSchema = object({
  baseUrl: optional(baseUrl),
  servers: anything,
  user: optional(fn),
  onAuthorizationRequired: optional(fn),
  onElicitationComplete: optional(fn),
  elicitationWait: optional(check(milliseconds, (value) => value >= 0, 'must not be negative')),
  admin: optional(fn),
  clientName: optional(text),
  clientMetadataUrl: optional(clientMetadataUrl),
  encryptionKey: optional(either(text, nonEmpty(list(text, '')), 'has to be a string or a list of strings')),
  store: optional(
    either(text, ownStore, 'has to be a path, or a store with get, compareAndSet, delete and list'),
  ),
  allowPrivateNetworks: optional(list(network, 'has to be a list of hosts, addresses or CIDR ranges')),
  trust: optional(trust),
  providers: optional(list(providerProfileSchema, 'has to be a list of provider profiles')),
  timeout: optional(check(milliseconds, (value) => value > 0, 'has to be more than 0')),
  onEvent: optional(fn),
  // Not strict: a logger is somebody else's object.
  logger: optional(
    openObject(
      { debug: optional(fn), info: optional(fn), warn: optional(fn), error: optional(fn) },
      'has to be an object with debug, info, warn and error, or some of them',
    ),
  ),
  clock: optional(fn),
})
