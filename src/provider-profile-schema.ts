import * as z from 'zod/mini'
import { isIssuerPattern } from './providers/match-issuer.js'
import type { ProviderProfile } from './providers/provider-profile.js'
import { authorizationParams, check, flag, isUrl, object, resource, text } from './schema-parts.js'

/** An issuer identifier, an origin, or a pattern of hosts; see `ProviderProfile.issuers`. */
export const issuer = check(
  text,
  (value) =>
    isIssuerPattern(value) && (value.includes('*') || isUrl(value, (url) => url.search + url.hash === '')),
  'has to be an https URL (http is for loopback alone), or a host such as *.example.com with an end of the path or without',
)

const issuers = z
  .array(issuer, { error: 'has to be a list of issuers' })
  .check(z.minLength(1, { error: 'must not be empty' }))

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
export const providerProfileSchema = object(
  {
    name: text,
    issuers,
    metadataIssuers: z.optional(issuers),
    metadataPath: z.optional(path),
    registrationPath: z.optional(registrationPath),
    allowMissingPkceMetadata: z.optional(flag),
    dynamicRegistration: z.optional(z.literal(false, { error: 'has to be false, or left away' })),
    initialAccessToken: z.optional(object({ required: flag, obtain: text })),
    manualRegistration: z.optional(
      object({
        steps: z
          .array(text, { error: 'has to be a list of strings' })
          .check(z.minLength(1, { error: 'must not be empty' })),
        documentation: check(text, (value) => isUrl(value, () => true), 'has to be an https URL'),
      }),
    ),
    tokenEndpointAuthMethod: z.optional(
      z.enum(['client_secret_basic', 'client_secret_post'], {
        error: 'has to be client_secret_basic or client_secret_post',
      }),
    ),
    authorizationParams: z.optional(authorizationParams),
    resource: z.optional(
      z.union([resource, z.literal(false)], {
        error: 'has to be an absolute URI without fragment, or false',
      }),
    ),
    refusals: z.optional(
      z.array(object({ says: z.optional(text), hint: text }), { error: 'has to be a list of objects' }),
    ),
  } satisfies Record<keyof ProviderProfile, z.ZodMiniType>,
  'has to be a provider profile',
).check(
  z.superRefine((profile, ctx) => {
    const fault = (member: keyof ProviderProfile, message: string): void =>
      void ctx.addIssue({ code: 'custom', path: [member], message })
    if (profile.metadataIssuers !== undefined) {
      // Or one customer's metadata could name another customer's issuer.
      if ([...profile.issuers, ...profile.metadataIssuers].some((pattern) => pattern.includes('*')))
        fault('metadataIssuers', 'is possible only where all issuers are named, without *')
    }
    if (profile.issuers.some((pattern) => pattern.startsWith('*/'))) {
      // Anybody may have an issuer that ends so: what is known of it must not make anything less strict.
      if (profile.allowMissingPkceMetadata === true)
        fault('allowMissingPkceMetadata', 'is not possible for the issuers of any host')
      if (profile.resource === false) fault('resource', 'cannot be false for the issuers of any host')
    }
  }),
)
