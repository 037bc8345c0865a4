import type { ProviderProfile } from './provider-profile.js'

/** Keycloak: FIELD-NOTES, "Providers". It runs on any host; an issuer is a realm's URL. */
export const keycloak: ProviderProfile = {
  name: 'Keycloak',
  issuers: ['*/realms/*'],
  // https://www.keycloak.org/securing-apps/oidc-layers#_oidc-available-endpoints
  metadataPath: '{path}/.well-known/openid-configuration',
  // https://www.keycloak.org/securing-apps/client-registration#_initial_access_token
  initialAccessToken: {
    required: false,
    obtain:
      'Create an initial access token in the Admin Console of the realm (Clients > Initial access token), and set oauthConfig.initialAccessToken of this server to it: registration with one is not subject to the policies for anonymous access.',
  },
  manualRegistration: {
    steps: [
      'In the Admin Console of the realm, open Clients, and create a client of the type OpenID Connect.',
      'Turn on Client authentication, leave Standard flow on, and add {redirectUri} to the Valid redirect URIs.',
      'Copy its Client ID, and the Client Secret of the Credentials tab.',
    ],
    documentation: 'https://www.keycloak.org/docs/latest/server_admin/#_oidc_clients',
  },
  // The policies: https://www.keycloak.org/securing-apps/client-registration#_client_registration_policies
  refusals: [
    {
      says: 'Trusted Hosts',
      hint: 'The policy "Trusted Hosts" of the realm refuses anonymous registration. Add the host from which this gateway calls, and that of {redirectUri}, to it: Clients > Client registration > Anonymous access policies > Trusted Hosts.',
    },
    {
      says: 'Client Scopes',
      hint: 'A policy of the realm refuses a scope. Add the scopes that the MCP server asks for to Clients > Client registration > Anonymous access policies > Allowed Client Scopes.',
    },
    {
      says: 'Max Clients',
      hint: 'The realm has as many clients as its policy "Max Clients" allows. Delete those that nobody uses, or raise the limit under Clients > Client registration > Anonymous access policies.',
    },
  ],
}
