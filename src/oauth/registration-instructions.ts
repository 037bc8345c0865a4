import type { Server } from '../model.js'

/** What to configure where a client cannot be registered dynamically, with the callback URL to register. */
export function registrationInstructions(server: Server, redirectUri: string): string {
  return (
    `Register an OAuth app in the provider’s dashboard with the callback URL ${redirectUri}, then set ` +
    `oauthConfig.clientId (and oauthConfig.clientSecret, where the provider issues one) of the server "${server.name}". ` +
    'A provider that gates registration wants oauthConfig.initialAccessToken instead, or has to put this gateway on its allow-list.'
  )
}
