import type { ProviderProfile } from './provider-profile.js'

/** cal.com: FIELD-NOTES, "Providers". */
export const calCom: ProviderProfile = {
  name: 'Cal.com',
  issuers: ['https://mcp.cal.com'],
  refusals: [
    {
      // "redirect_uri host '…' is not in the allowed list", or that external hosts need ALLOWED_REDIRECT_HOSTS:
      // github.com/calcom/companion/issues/175 and 164; loopback is always allowed: github.com/calcom/companion/pull/120
      says: 'redirect_uri',
      hint: 'Cal.com keeps an allow-list of callback hosts. Ask Cal.com to add that of {redirectUri} (https://github.com/calcom/companion/issues); a gateway on loopback needs no entry.',
    },
  ],
}
