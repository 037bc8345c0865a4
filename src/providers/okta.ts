import type { ProviderProfile } from './provider-profile.js'

/** Okta: FIELD-NOTES, "Providers". An org with a domain of its own needs `issuers` set to that. */
export const okta: ProviderProfile = {
  name: 'Okta',
  // https://developer.okta.com/docs/concepts/okta-organizations/
  issuers: ['*.okta.com', '*.oktapreview.com', '*.okta-emea.com'],
  // https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/ (OpenID Connect metadata of org and custom servers)
  metadataPath: '{path}/.well-known/openid-configuration',
  // On the org's URL also for a custom authorization server: https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/Client/
  registrationPath: '/oauth2/v1/clients',
  // The same page; github.com/modelcontextprotocol/modelcontextprotocol/issues/695
  initialAccessToken: {
    required: true,
    obtain:
      'Set oauthConfig.initialAccessToken of this server to an access token of the Okta API with the scope okta.clients.manage, or to a function that gets one by the client credentials of a service app. An SSWS API token will not do: it is not sent as Bearer.',
  },
  manualRegistration: {
    steps: [
      'In the Okta Admin Console, open Applications > Applications, choose Create App Integration, then OIDC and Web Application.',
      'Select the grant types Authorization Code and Refresh Token, and add {redirectUri} to the Sign-in redirect URIs.',
      'Assign the people who may use it, and save.',
      'Copy its Client ID and Client secret.',
    ],
    documentation: 'https://help.okta.com/en-us/content/topics/apps/apps_app_integration_wizard_oidc.htm',
  },
}
