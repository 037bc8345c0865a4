import { isIssuerPattern } from './providers/match-issuer.js'
import type { ProviderProfile } from './providers/provider-profile.js'
import {
  check,
  list,
  literal,
  nonEmpty,
  object,
  optional,
  refine,
  type Fault,
  type Schema,
} from './schema.js'
import { authorizationParams, flag, isUrl, resourceOrFalse, text } from './schema-parts.js'

/** An issuer identifier, an origin, or a pattern of hosts; see `ProviderProfile.issuers`. */
export const issuer = check(
  text,
  (value) =>
    isIssuerPattern(value) && (value.includes('*') || isUrl(value, (url) => url.search + url.hash === '')),
  'has to be an https URL (http is for loopback alone), or a host such as *.example.com with an end of the path or without',
)

const issuers = nonEmpty(list(issuer, 'has to be a list of issuers'))

const path = check(
  text,
  (value) => /^(?:\{path\})?\/(?!\/)[^?#\\{}]*$/.test(value),
  'has to be a path that starts with "/" or with "{path}/"',
)

const registrationPath = check(
  text,
  (value) => /^\/(?!\/)[^?#\\{}]*$/.test(value),
  'has to be a path that starts with "/"',
)

/** {@link ProviderProfile}, as the option `providers` takes it. */
export const providerProfileSchema = refine(
  object(
    {
      name: text,
      issuers,
      metadataIssuers: optional(issuers),
      metadataPath: optional(path),
      registrationPath: optional(registrationPath),
      allowMissingPkceMetadata: optional(flag),
      dynamicRegistration: optional(literal([false], 'has to be false, or left away')),
      initialAccessToken: optional(object({ required: flag, obtain: text })),
      manualRegistration: optional(
        object({
          steps: nonEmpty(list(text, 'has to be a list of strings')),
          documentation: check(text, (value) => isUrl(value, () => true), 'has to be an https URL'),
        }),
      ),
      tokenEndpointAuthMethod: optional(
        literal(
          ['client_secret_basic', 'client_secret_post'],
          'has to be client_secret_basic or client_secret_post',
        ),
      ),
      authorizationParams: optional(authorizationParams),
      resource: optional(resourceOrFalse),
      refusals: optional(list(object({ says: optional(text), hint: text }), 'has to be a list of objects')),
    } satisfies Record<keyof ProviderProfile, Schema>,
    'has to be a provider profile',
  ),
  function* (profile): Generator<Fault> {
    if (profile.metadataIssuers !== undefined) {
      // Or one customer's metadata could name another customer's issuer.
      if ([...profile.issuers, ...profile.metadataIssuers].some((pattern) => pattern.includes('*')))
        yield {
          path: ['metadataIssuers'],
          message: 'is possible only where all issuers are named, without *',
        }
    }
    if (profile.issuers.some((pattern) => pattern.startsWith('*/'))) {
      // Anybody may have an issuer that ends so: what is known of it must not make anything less strict.
      if (profile.allowMissingPkceMetadata === true)
        yield { path: ['allowMissingPkceMetadata'], message: 'is not possible for the issuers of any host' }
      if (profile.resource === false)
        yield { path: ['resource'], message: 'cannot be false for the issuers of any host' }
    }
  },
)
