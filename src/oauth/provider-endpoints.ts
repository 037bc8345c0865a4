import type { AuthorizationServerMetadata } from '../model.js'
import type { ProviderProfile } from '../providers/provider-profile.js'

/** Where the provider is known to have its metadata; undefined where the standard places are all that is known. */
export function metadataUrlOf(
  { origin, pathname }: URL,
  provider: ProviderProfile | undefined,
): string | undefined {
  if (provider?.metadataPath === undefined) return undefined
  return origin + provider.metadataPath.replace('{path}', () => pathname.replace(/\/$/, ''))
}

/** The registration endpoint that the provider is known to have, where the metadata names none. */
export function withRegistrationPath(
  metadata: AuthorizationServerMetadata,
  provider: ProviderProfile | undefined,
): AuthorizationServerMetadata {
  if (metadata.registration_endpoint !== undefined || provider?.registrationPath === undefined)
    return metadata
  return { ...metadata, registration_endpoint: new URL(provider.registrationPath, metadata.issuer).href }
}
