import type { ProviderProfile } from './provider-profile.js'

/** The clouds: https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud */
const HOSTS = [
  'https://login.microsoftonline.com',
  'https://login.microsoftonline.us',
  'https://login.partner.microsoftonline.cn',
  // The issuer of version 1.0 of the platform: github.com/MicrosoftDocs/azure-docs/issues/38427
  'https://sts.windows.net',
]

/** Microsoft Entra ID: FIELD-NOTES, "Providers". */
export const entra: ProviderProfile = {
  name: 'Microsoft Entra ID',
  issuers: HOSTS,
  // `common` and `organizations` name `…/{tenantid}/v2.0`, a tenant's domain names the tenant's id: the same issue.
  metadataIssuers: HOSTS,
  // OpenID Connect Discovery only: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
  metadataPath: '{path}/.well-known/openid-configuration',
  // github.com/anthropics/claude-ai-mcp/issues/786
  allowMissingPkceMetadata: true,
  dynamicRegistration: false,
  // Version 2.0 has the resource in the scope, and refuses another beside it: AADSTS9010010,
  // github.com/punkpeye/mcp-remote/issues/217, github.com/microsoft/powerbi-modeling-mcp/issues/68
  resource: false,
  // `prompt=consent` asks for an administrator's consent again and again, also where it was given:
  // github.com/modelcontextprotocol/inspector/issues/2068, github.com/MicrosoftDocs/entra-docs/issues/652
  authorizationParams: { prompt: 'select_account' },
  manualRegistration: {
    steps: [
      'In the Microsoft Entra admin center, open App registrations, and choose New registration.',
      'Under Redirect URI, choose the platform Web and enter {redirectUri}, then Register.',
      'Under API permissions, add the delegated permissions of the MCP server’s API, and have an administrator grant consent where they need it.',
      'Under Certificates & secrets, create a client secret. Copy its value, and the Application (client) ID of the overview.',
    ],
    documentation: 'https://learn.microsoft.com/entra/identity-platform/quickstart-register-app',
  },
  refusals: [
    {
      says: 'AADSTS9010010',
      hint: 'Leave oauthConfig.resource of this server away, or set it to false.',
    },
    {
      says: 'AADSTS90094',
      hint: 'Have an administrator of the tenant grant consent to the app under API permissions.',
    },
  ],
}
