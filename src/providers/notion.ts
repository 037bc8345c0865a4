import type { ProviderProfile } from './provider-profile.js'

/** Notion: FIELD-NOTES, "Providers". https://developers.notion.com/guides/mcp/build-mcp-client */
export const notion: ProviderProfile = {
  name: 'Notion',
  issuers: ['https://mcp.notion.com'],
  refusals: [
    {
      says: 'redirect',
      hint: 'Notion takes callback URLs that are https or loopback: set baseUrl so that {redirectUri} is one.',
    },
  ],
}
