import { atlassian } from './atlassian.js'
import { auth0 } from './auth0.js'
import { calCom } from './cal-com.js'
import { cognito } from './cognito.js'
import { entra } from './entra.js'
import { figma } from './figma.js'
import { github } from './github.js'
import { google } from './google.js'
import { keycloak } from './keycloak.js'
import { linear } from './linear.js'
import { notion } from './notion.js'
import { okta } from './okta.js'
import type { ProviderProfile } from './provider-profile.js'
import { slack } from './slack.js'
import { supabase } from './supabase.js'

/**
 * The built-in profiles, for `providers: [{ ...providerProfiles.auth0, issuers: ['https://login.example.com'] }]`.
 * They are tried in this order; Keycloak, which may be on anybody's host, comes last.
 */
export const providerProfiles = {
  atlassian,
  auth0,
  calCom,
  cognito,
  entra,
  figma,
  github,
  google,
  linear,
  notion,
  okta,
  slack,
  supabase,
  keycloak,
} as const satisfies Record<string, ProviderProfile>
