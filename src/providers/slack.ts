import type { ProviderProfile } from './provider-profile.js'

/** Slack: FIELD-NOTES, "Providers". https://docs.slack.dev/ai/slack-mcp-server */
export const slack: ProviderProfile = {
  name: 'Slack',
  issuers: ['https://slack.com', 'https://mcp.slack.com'],
  // `https://mcp.slack.com` has named `https://slack.com`: github.com/slackapi/slack-skills-plugin/issues/7
  metadataIssuers: ['https://slack.com'],
  dynamicRegistration: false,
  manualRegistration: {
    steps: [
      'At https://api.slack.com/apps, create an app from scratch in your workspace. It has to be an internal app, or one of the Slack Marketplace.',
      'Under Agents & AI Apps, turn on Model Context Protocol.',
      'Under OAuth & Permissions, add {redirectUri} to the Redirect URLs, which have to be https, and add the User Token Scopes that the MCP server’s tools need.',
      'Under Basic Information > App Credentials, copy the Client ID and the Client Secret.',
    ],
    documentation: 'https://docs.slack.dev/ai/slack-mcp-server/developing',
  },
}
