import type { ProviderProfile } from './provider-profile.js'

/** Linear: FIELD-NOTES, "Providers". Its MCP server registers clients; its OAuth apps are made by hand. */
export const linear: ProviderProfile = {
  name: 'Linear',
  // The MCP server is its own issuer: github.com/Cloudgeni-ai/opengeni/pull/297. The others are those of the OAuth apps.
  issuers: ['https://mcp.linear.app', 'https://linear.app', 'https://api.linear.app'],
  // The documented parameters; there is no metadata. https://linear.app/developers/oauth-2-0-authentication
  tokenEndpointAuthMethod: 'client_secret_post',
  manualRegistration: {
    steps: [
      'In Linear, as an administrator of the workspace, open Settings > API > OAuth applications, and create one.',
      'Add {redirectUri} to its Callback URLs, then Create.',
      'Copy its Client ID and Client secret.',
    ],
    documentation: 'https://linear.app/developers/oauth-2-0-authentication',
  },
}
