import type { ProviderProfile } from './provider-profile.js'

const ALLOW_LIST =
  'Figma keeps a provider allow-list: only clients of its MCP catalog may register, whatever they send. Ask Figma to admit this gateway at https://www.figma.com/mcp-catalog/.'

/** Figma: FIELD-NOTES, "Providers". https://developers.figma.com/docs/figma-mcp-server/remote-server-installation/ */
export const figma: ProviderProfile = {
  name: 'Figma',
  // github.com/docker/sbx-releases/issues/435
  issuers: ['https://api.figma.com', 'https://www.figma.com'],
  manualRegistration: {
    steps: [
      'Ask Figma to admit this gateway to its MCP catalog, with the callback URL {redirectUri}. An app of the Figma API alone is not enough: it is not given the scope mcp:connect.',
      'Copy the Client ID, and the Client secret where you are given one.',
    ],
    documentation: 'https://www.figma.com/mcp-catalog/',
  },
  refusals: [
    // A 403 in plain text: github.com/nicobailon/pi-mcp-adapter/issues/49
    { says: 'status 403', hint: ALLOW_LIST },
    // https://forum.figma.com/ask-the-community-7/how-to-access-mcp-oauth-scope-mcp-connect-50630
    { says: 'Invalid scopes for app', hint: ALLOW_LIST },
  ],
}
