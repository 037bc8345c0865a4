import { matchesIssuer } from './match-issuer.js'
import type { ProviderProfile } from './provider-profile.js'

/** The profile of an issuer's provider; undefined where none is known. */
export type ProviderOf = (issuer: string) => ProviderProfile | undefined

/** The first profile that has the issuer, in this order; then the first whose metadata may name it. */
export function createProviderLookup(profiles: readonly ProviderProfile[]): ProviderOf {
  return (issuer) =>
    profiles.find(({ issuers }) => matchesIssuer(issuers, issuer)) ??
    profiles.find(({ metadataIssuers = [] }) => matchesIssuer(metadataIssuers, issuer))
}
