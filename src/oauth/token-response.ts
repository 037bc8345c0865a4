import { McpDcrError } from '../errors.js'
import { isBearerToken } from './bearer-token.js'
import {
  errorResponse,
  jsonResponse,
  numberOf,
  readJsonObject,
  scopeString,
  withoutEmpty,
} from './read-json-response.js'

/** What a token request yields. */
export interface Tokens {
  readonly accessToken: string
  /** Undefined where the server returned none: the old one stays (SPEC 36). */
  readonly refreshToken: string | undefined
  /** Epoch milliseconds; undefined where the server did not say. */
  readonly expiresAt: number | undefined
  readonly scope: string | undefined
}

/** In seconds; what is said to live longer would leave the range of dates. */
const TEN_YEARS = 315_360_000

/** What to do about an answer that has no token that can be sent. */
export const UNUSABLE_TOKENS =
  'Check oauthConfig.tokenUrl of this server, where it is set; otherwise it is a fault of the provider.'

/**
 * Makes a token answer readable to openid-client: a 200 with an `error` becomes a 400, form-encoded
 * bodies become JSON, empty members and a needless `id_token` vanish, a challenge beside an error body no
 * longer hides it.
 */
export async function normalizeTokenResponse(response: Response): Promise<Response> {
  const body = await readJsonObject(response)
  if (body === undefined) return response
  const error = errorResponse(body, response.status)
  if (error !== undefined) return error
  if (response.status !== 200 && response.status !== 201) return response
  const { scope, expires_in: expiresIn, ...tokens } = withoutEmpty(body)
  const scopes = scopeString(scope)
  const seconds = numberOf(expiresIn)
  return jsonResponse(
    {
      token_type: 'bearer',
      ...tokens,
      ...(scopes !== undefined && { scope: scopes }),
      ...(seconds > 0 && { expires_in: Math.min(seconds, TEN_YEARS) }),
    },
    ['access_token', 'token_type', 'expires_in', 'refresh_token', 'scope'],
    200,
  )
}

/**
 * The members that are used of openid-client's token answer.
 *
 * @throws McpDcrError `token_response_invalid`
 */
export function readTokens(
  answer: { access_token: string; refresh_token?: string; expires_in?: number; scope?: string },
  now: number,
): Tokens {
  if (!isBearerToken(answer.access_token)) {
    throw new McpDcrError(
      'token_response_invalid',
      'The access token has characters that no header can carry.',
      { fix: UNUSABLE_TOKENS },
    )
  }
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    expiresAt: answer.expires_in === undefined ? undefined : now + answer.expires_in * 1000,
    scope: answer.scope,
  }
}
