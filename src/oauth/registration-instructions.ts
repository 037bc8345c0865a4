import type { Server } from '../model.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { baseUrlOfRedirectUri } from './redirect-uri.js'

/**
 * What to configure where a client cannot be registered dynamically, with the callback URL to register: the
 * steps of the provider, one a line, where they are known.
 */
export function registrationInstructions(
  server: Server,
  redirectUri: string,
  provider?: ProviderProfile,
): string {
  if (provider?.manualRegistration === undefined) return generalInstructions(server, redirectUri)
  const { steps, documentation } = provider.manualRegistration
  const last = `Set oauthConfig.clientId (and oauthConfig.clientSecret, where there is one) of the server "${server.name}".`
  return [
    `Register an app with ${provider.name} by hand:`,
    ...[...steps, last].map((step, i) => `${i + 1}. ${fillIn(step, redirectUri)}`),
    `${provider.name}’s own page: ${documentation}`,
  ].join('\n')
}

function generalInstructions(server: Server, redirectUri: string): string {
  return (
    `Register an OAuth app in the provider’s dashboard with the callback URL ${redirectUri}, then set ` +
    `oauthConfig.clientId (and oauthConfig.clientSecret, where the provider issues one) of the server "${server.name}". ` +
    'A provider that gates registration wants oauthConfig.initialAccessToken instead, or has to put this gateway on its allow-list.'
  )
}

/** A text of a provider's profile, with this gateway's own URLs. */
export function fillIn(text: string, redirectUri: string): string {
  const baseUrl = baseUrlOfRedirectUri(redirectUri)
  return text.replaceAll('{redirectUri}', () => redirectUri).replaceAll('{baseUrl}', () => baseUrl)
}
