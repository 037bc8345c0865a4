import type { IncomingMessage, ServerResponse } from 'node:http'
import { ERROR_KINDS, McpDcrError } from '../errors.js'
import type { Logger } from '../model.js'
import { errorPage } from '../pages/error-page.js'
import { pageHeaders } from '../pages/page-headers.js'
import { isNavigation } from './caller.js'
import type { Answer } from './intercept.js'

/** Of all that is no page: kept by nobody, and no browser takes text of a server's for markup. */
const HEADERS = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

let headersOfPages: Readonly<Record<string, string>> | undefined

/** A page of ours, under helmet's headers. */
export function pageAnswer(html: string, status = 200): Answer {
  headersOfPages ??= pageHeaders()
  return { status, headers: { ...headersOfPages, 'content-type': 'text/html; charset=utf-8' }, body: html }
}

/** A redirect; 307 keeps method and body, 303 turns into a GET. */
export function redirectAnswer(
  location: string,
  status: 302 | 303 | 307,
  cookies: readonly string[] = [],
): Answer {
  return {
    status,
    headers: { ...HEADERS, location, ...(cookies.length > 0 && { 'set-cookie': [...cookies] }) },
  }
}

export function jsonAnswer(body: unknown, status = 200, contentType = 'application/json'): Answer {
  return { status, headers: { ...HEADERS, 'content-type': contentType }, body: JSON.stringify(body) }
}

/** Problem details (RFC 9457): the error's own words, nothing of its cause. */
function problemAnswer(error: McpDcrError): Answer {
  const { code, status, message, fix, server, authorizationUrl } = error
  return jsonAnswer(
    {
      type: `https://github.com/mcp-dcr/mcp-dcr/blob/main/docs/troubleshooting.md#${code}`,
      title: ERROR_KINDS[code].title,
      status,
      detail: message,
      code,
      fix,
      server,
      authorizationUrl,
    },
    status,
    'application/problem+json',
  )
}

/**
 * An error, in the form that the caller reads: a page for people, problem details for everything else.
 *
 * @param label as in {@link errorPage}
 */
export function errorAnswer(
  req: IncomingMessage,
  error: McpDcrError,
  retryUrl?: string,
  label?: string,
): Answer {
  return isNavigation(req)
    ? pageAnswer(errorPage(error, retryUrl, label), error.status)
    : problemAnswer(error)
}

/** Our own error, or an `internal_error` whose cause goes to the log alone. */
export function toMcpDcrError(thrown: unknown, logger: Logger): McpDcrError {
  const error =
    thrown instanceof McpDcrError
      ? thrown
      : new McpDcrError('internal_error', 'Something went wrong in the gateway.', { cause: thrown })
  const level = error.status >= 500 ? 'error' : 'debug'
  logger[level](`${error.code}: ${error.message}`, {
    server: error.server,
    cause: describeCause(error.cause),
  })
  return error
}

/** The chain of causes in words: an error's own properties may hold what must not be logged. */
function describeCause(cause: unknown): string | undefined {
  const words: string[] = []
  for (
    let depth = 0, current = cause;
    depth < 5 && current instanceof Error;
    depth++, current = current.cause
  ) {
    const code = 'code' in current && typeof current.code === 'string' ? ` [${current.code}]` : ''
    words.push(`${current.name}: ${current.message}${code}`)
  }
  return words.length === 0 ? undefined : words.join(' ← ')
}

/** Sends an answer as a response of its own. */
export function sendAnswer(req: IncomingMessage, res: ServerResponse, answer: Answer): void {
  if (res.headersSent || res.destroyed) return
  res.statusCode = answer.status
  for (const [name, value] of Object.entries(answer.headers)) res.setHeader(name, value)
  res.end(req.method === 'HEAD' ? undefined : answer.body)
}
