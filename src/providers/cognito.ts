import type { ProviderProfile } from './provider-profile.js'

/** Amazon Cognito user pools: FIELD-NOTES, "Providers". */
export const cognito: ProviderProfile = {
  name: 'Amazon Cognito',
  // `https://cognito-idp.<region>.amazonaws.com/<user pool>`: https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html
  issuers: ['cognito-idp.*.amazonaws.com'],
  metadataPath: '{path}/.well-known/openid-configuration',
  // github.com/anthropics/claude-code/issues/13275, github.com/anthropics/claude-ai-mcp/issues/946
  allowMissingPkceMetadata: true,
  dynamicRegistration: false,
  manualRegistration: {
    steps: [
      'In the Amazon Cognito console, open the user pool and its App clients, and create one of the type Traditional web application.',
      'In its login pages, add {redirectUri} to the Allowed callback URLs, allow the grant type Authorization code grant, and select the scopes of the MCP server.',
      'Copy its Client ID and Client secret.',
    ],
    documentation:
      'https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-client-apps.html',
  },
}
