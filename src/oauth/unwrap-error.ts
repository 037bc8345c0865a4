import type { ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
import { McpDcrError, quoteUntrusted } from '../errors.js'

/** What a failed OAuth request came down to. */
export interface OAuthFailure {
  /** The RFC 6749 §5.2 (or RFC 7591 §3.2.2) error code that the server sent; undefined where it sent none. */
  readonly error: string | undefined
  /** The server's description, made printable. */
  readonly description: string | undefined
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined
  /** Whether trying again later may help: no answer, or an answer of 408, 429 or 5xx. */
  readonly transient: boolean
  /** The cause, without the response: that may hold tokens, and causes end up in logs. */
  readonly cause: Error
}

/**
 * Reads what openid-client threw.
 *
 * @param sent the secrets that were in the request: a server that echoes it must not have them shown
 */
export function unwrapError(error: unknown, sent: readonly (string | null | undefined)[] = []): OAuthFailure {
  const { error: code, description, ...rest } = read(error)
  const hide = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : quoteUntrusted(withoutSecrets(text, sent))
  return { ...rest, error: hide(code), description: hide(description) }
}

function withoutSecrets(text: string, secrets: readonly (string | null | undefined)[]): string {
  return secrets.reduce<string>(
    (shown, secret) =>
      secret ? shown.replaceAll(secret, '…').replaceAll(encodeURIComponent(secret), '…') : shown,
    text,
  )
}

function read(error: unknown): OAuthFailure {
  if (isResponseBodyError(error)) {
    return failure(error, error.error, error.error_description, error.status)
  }
  if (isChallengeError(error)) {
    // `.error` is undefined here: the code is among the challenge's parameters, when it is there at all.
    const parameters = error.cause.map((challenge) => challenge.parameters)
    const code = parameters.map((p) => p.error).find((value) => value !== undefined)
    const description = parameters.map((p) => p.error_description).find((value) => value !== undefined)
    return failure(error, code, description, error.status)
  }
  const response = error instanceof Error && error.cause instanceof Response ? error.cause : undefined
  return failure(error, undefined, undefined, response?.status)
}

/** By its code rather than its class: openid-client is loaded when it is first used. */
function isResponseBodyError(error: unknown): error is ResponseBodyError {
  return codeOf(error) === 'OAUTH_RESPONSE_BODY_ERROR'
}

function isChallengeError(error: unknown): error is WWWAuthenticateChallengeError {
  return codeOf(error) === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE'
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function failure(
  error: unknown,
  code: string | undefined,
  description: string | undefined,
  status: number | undefined,
): OAuthFailure {
  const network = networkFailure(error)
  return {
    error: code,
    description,
    status,
    transient:
      network !== undefined || (status !== undefined && (status >= 500 || status === 429 || status === 408)),
    cause: network ?? withoutResponse(error),
  }
}

/** The guarded fetch's own error, wherever openid-client wrapped it. */
function networkFailure(error: unknown): McpDcrError | undefined {
  for (
    let depth = 0, current = error;
    depth < 5 && current instanceof Error;
    depth++, current = current.cause
  ) {
    if (current instanceof McpDcrError) return current
  }
  return undefined
}

function withoutResponse(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('unknown failure')
  const bare = new Error(error.message)
  bare.name = error.name
  if ('code' in error && typeof error.code === 'string') Object.assign(bare, { code: error.code })
  return bare
}
