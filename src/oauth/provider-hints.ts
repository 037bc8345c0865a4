import { McpDcrError, type ErrorCode } from '../errors.js'
import type { Server } from '../model.js'
import type { ProviderProfile } from '../providers/provider-profile.js'
import { fillIn, registrationInstructions } from './registration-instructions.js'

/** The hint for an answer that says this; undefined where the provider's profile has none. */
export function hintFor(
  said: string,
  redirectUri: string,
  provider: ProviderProfile | undefined,
): string | undefined {
  const text = said.toLowerCase()
  const refusal = provider?.refusals?.find(
    ({ says }) => says !== undefined && text.includes(says.toLowerCase()),
  )
  return refusal === undefined ? undefined : fillIn(refusal.hint, redirectUri)
}

/** What a refused registration may be called. */
const REFUSED: ReadonlySet<ErrorCode> = new Set([
  'registration_endpoint_not_found',
  'registration_failed',
  'invalid_redirect_uri',
  'invalid_client_metadata',
])

/** The same error, with what is known of the provider in its fix. */
export function withProviderHints(
  error: unknown,
  server: Server,
  redirectUri: string,
  provider: ProviderProfile | undefined,
): unknown {
  if (provider === undefined || !(error instanceof McpDcrError) || !REFUSED.has(error.code)) return error
  const general = registrationInstructions(server, redirectUri)
  const isPlain = error.fix === general
  const hint =
    hintFor(error.message, redirectUri, provider) ?? (isPlain ? unnamed(provider, redirectUri) : undefined)
  const fix = isPlain ? registrationInstructions(server, redirectUri, provider) : error.fix
  const { code, message, cause } = error
  const lines = [hint, isPlain ? obtainToken(server, provider, error) : undefined, fix]
  return new McpDcrError(code, message, {
    server: server.name,
    cause,
    fix: lines.filter((line) => line !== undefined).join('\n'),
  })
}

function unnamed({ refusals = [] }: ProviderProfile, redirectUri: string): string | undefined {
  const hint = refusals.find(({ says }) => says === undefined)?.hint
  return hint === undefined ? undefined : fillIn(hint, redirectUri)
}

function obtainToken(
  { oauth }: Server,
  { initialAccessToken }: ProviderProfile,
  { code }: McpDcrError,
): string | undefined {
  const isOfUse = code === 'registration_failed' && oauth.initialAccessToken === undefined
  return isOfUse ? initialAccessToken?.obtain : undefined
}
