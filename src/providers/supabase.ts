import type { ProviderProfile } from './provider-profile.js'

/**
 * Supabase: FIELD-NOTES, "Providers". Its own MCP server, and the OAuth server of a project. That it may answer
 * with a confidential client where a public one was asked for needs no exception: what it returns is used.
 */
export const supabase: ProviderProfile = {
  name: 'Supabase',
  // https://supabase.com/docs/guides/getting-started/mcp, https://supabase.com/docs/guides/auth/oauth-server/mcp-authentication
  issuers: ['https://api.supabase.com', 'https://mcp.supabase.com', '*.supabase.co'],
  manualRegistration: {
    steps: [
      'In the Supabase dashboard, open the OAuth Apps of your organization, or Authentication > OAuth Apps of the project whose OAuth server it is, and add one.',
      'Add {redirectUri} to its callback URLs.',
      'Copy its Client ID and Client secret.',
    ],
    documentation: 'https://supabase.com/docs/guides/getting-started/mcp#manual-authentication',
  },
  refusals: [
    {
      // https://docs.mcp-use.com/typescript/server/authentication/providers/supabase
      hint: 'A project’s OAuth server registers clients only after Authentication > OAuth Server > Allow Dynamic OAuth Apps was turned on in the Supabase dashboard.',
    },
  ],
}
