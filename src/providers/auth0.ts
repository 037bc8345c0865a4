import type { ProviderProfile } from './provider-profile.js'

/** Auth0: FIELD-NOTES, "Providers". A tenant with a domain of its own needs `issuers` set to that. */
export const auth0: ProviderProfile = {
  name: 'Auth0',
  issuers: ['*.auth0.com'],
  // Without its compatibility profile, which is off by default, a tenant takes no `resource` but `audience`;
  // with both, `audience` counts. https://auth0.com/ai/docs/mcp/guides/resource-param-compatibility-profile
  authorizationParams: { audience: '{resource}' },
  manualRegistration: {
    steps: [
      'In the Auth0 Dashboard, open Applications > Applications, and create an application of the type Regular Web Application.',
      'In its settings, add {redirectUri} to the Allowed Callback URLs, and save.',
      'Copy its Client ID and Client Secret.',
    ],
    documentation: 'https://auth0.com/docs/get-started/auth0-overview/create-applications/regular-web-apps',
  },
  refusals: [
    {
      // https://support.auth0.com/center/s/article/mcp-audience-error-with-auth0
      says: 'userinfo audience is not allowed',
      hint: 'Turn on Settings > Advanced > Resource Parameter Compatibility Profile in the Auth0 Dashboard, or set oauthConfig.authorizationParams.audience of this server to the identifier of its API.',
    },
    {
      // https://auth0.com/docs/get-started/applications/third-party-applications/troubleshooting
      says: 'unauthorized_client',
      hint: 'In the Auth0 Dashboard, give third-party applications default permissions for the API of this server: without them a registered client may use none.',
    },
    {
      // Off for all tenants by default: https://auth0.com/docs/get-started/applications/dynamic-client-registration
      hint: 'Auth0 registers no clients until an administrator of the tenant turns on Settings > Advanced > Dynamic Client Registration in the Auth0 Dashboard, and gives third-party applications default permissions for the API of this server.',
    },
  ],
}
