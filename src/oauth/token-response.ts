import { McpDcrError } from '../errors.js'
import { jsonResponse, readJsonObject, scopeString, withoutEmpty } from './read-json-response.js'

/** What a token request yields. */
export interface Tokens {
  readonly accessToken: string
  /** Undefined where the server returned none: the old one stays (SPEC 36). */
  readonly refreshToken: string | undefined
  /** Epoch milliseconds; undefined where the server did not say. */
  readonly expiresAt: number | undefined
  readonly scope: string | undefined
}

/**
 * Makes a token answer readable to openid-client: a 200 with an `error` (GitHub) becomes a 400, form-encoded
 * bodies become JSON, empty members and a needless `id_token` vanish, a challenge beside an error body no
 * longer hides it.
 */
export async function normalizeTokenResponse(response: Response): Promise<Response> {
  const body = await readJsonObject(response)
  if (body === undefined) return response
  if (typeof body['error'] === 'string')
    return jsonResponse(body, response.status < 400 ? 400 : response.status)
  if (response.status !== 200 && response.status !== 201) return response
  const { id_token: _, scope, expires_in: expiresIn, ...tokens } = withoutEmpty(body)
  const scopes = scopeString(scope)
  const seconds = Number(expiresIn)
  return jsonResponse(
    {
      token_type: 'bearer',
      ...tokens,
      ...(scopes !== undefined && { scope: scopes }),
      ...(seconds > 0 && { expires_in: seconds }),
    },
    200,
  )
}

/** What can follow `Bearer ` in a header: visible ASCII, wider than RFC 6750 §2.1 since servers are. */
const B64TOKEN = /^[\x21-\x7e]+$/

/**
 * The members that are used of openid-client's token answer.
 *
 * @throws McpDcrError `token_response_invalid`
 */
export function readTokens(
  answer: { access_token: string; refresh_token?: string; expires_in?: number; scope?: string },
  now: number,
): Tokens {
  if (!B64TOKEN.test(answer.access_token)) {
    throw new McpDcrError(
      'token_response_invalid',
      'The access token has characters that no header can carry.',
    )
  }
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    expiresAt: answer.expires_in === undefined ? undefined : now + answer.expires_in * 1000,
    scope: answer.scope,
  }
}
