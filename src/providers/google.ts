import type { ProviderProfile } from './provider-profile.js'

/** Google: FIELD-NOTES, row 22 and "Providers". */
export const google: ProviderProfile = {
  name: 'Google',
  // github.com/home-assistant/core/issues/180546
  issuers: ['https://accounts.google.com'],
  // https://developers.google.com/identity/openid-connect/openid-connect#discovery
  metadataPath: '/.well-known/openid-configuration',
  dynamicRegistration: false,
  // A refresh token is given for offline access alone, and again only where consent is asked for again.
  // https://developers.google.com/identity/protocols/oauth2/web-server#offline
  authorizationParams: { access_type: 'offline', prompt: 'consent' },
  manualRegistration: {
    steps: [
      'In the Google Cloud console, choose a project, enable the APIs that the MCP server uses, and open APIs & Services > Credentials.',
      'Choose Create credentials > OAuth client ID, and the application type Web application.',
      'Add {redirectUri} to the Authorized redirect URIs, then Create.',
      'Copy the Client ID and the Client secret.',
    ],
    documentation: 'https://developers.google.com/identity/protocols/oauth2/web-server#creatingcred',
  },
}
