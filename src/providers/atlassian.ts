import type { ProviderProfile } from './provider-profile.js'

/** Atlassian: FIELD-NOTES, row 20 and "Providers". */
export const atlassian: ProviderProfile = {
  name: 'Atlassian',
  // github.com/atlassian/atlassian-mcp-server/issues/205 and 148
  issuers: ['https://auth.atlassian.com', 'https://mcp.atlassian.com', 'https://cf.mcp.atlassian.com'],
  // `https://auth.atlassian.com/<tenant>` names the issuer without its path, `https://mcp.atlassian.com` names
  // `https://cf.mcp.atlassian.com`: the same issues.
  metadataIssuers: ['https://auth.atlassian.com', 'https://cf.mcp.atlassian.com'],
  refusals: [
    {
      // https://support.atlassian.com/security-and-access-policies/docs/control-atlassian-rovo-mcp-server-settings
      says: 'domain',
      hint: 'An administrator of the Atlassian organization has to allow the domain of {redirectUri} under Apps > AI settings > Rovo MCP server > Add domain.',
    },
  ],
}
