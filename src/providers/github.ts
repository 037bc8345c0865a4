import type { ProviderProfile } from './provider-profile.js'

/** GitHub: FIELD-NOTES, "Providers". GitHub Enterprise Server needs `issuers` set to its own URL. */
export const github: ProviderProfile = {
  name: 'GitHub',
  // Its MCP server names `https://github.com/login/oauth`: github.com/github/github-mcp-server/issues/1404
  issuers: ['https://github.com'],
  // "We will never be able to implement": github.com/github/github-mcp-server/issues/2532
  dynamicRegistration: false,
  // The documented parameters; its metadata does not say.
  // https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
  tokenEndpointAuthMethod: 'client_secret_post',
  manualRegistration: {
    steps: [
      'On GitHub, open Settings > Developer settings > OAuth apps, of yourself or of an organization, and choose New OAuth app.',
      'Enter {baseUrl} as Homepage URL and {redirectUri} as Authorization callback URL, then Register application.',
      'Choose Generate a new client secret. Copy it, and the Client ID.',
    ],
    documentation: 'https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/creating-an-oauth-app',
  },
  refusals: [
    {
      // https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-authorization-request-errors
      says: 'redirect_uri_mismatch',
      hint: 'Set the Authorization callback URL of the OAuth app to {redirectUri}.',
    },
  ],
}
