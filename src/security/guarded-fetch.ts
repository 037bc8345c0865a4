import type { Agent } from 'undici'
import { McpDcrError, quoteUntrusted } from '../errors.js'
import { createGuardedAgent, type Resolve } from './guarded-dispatcher.js'
import { isLoopbackHost, parseAllowList, type Reach } from './network.js'

export { reachOf, type Reach } from './network.js'

/**
 * `fetch` for everything that metadata leads to. No redirect is followed; the body is read here, so that
 * nothing can hang later.
 *
 * @throws McpDcrError `insecure_url`, `blocked_address`, `redirect_refused`, `request_timeout`,
 * `response_too_large`, `request_failed`
 */
export type GuardedFetch = (
  url: string | URL,
  init: RequestInit | undefined,
  reach: Reach,
) => Promise<Response>

export interface GuardedFetchOptions {
  /** For the whole exchange, the body included, in milliseconds. */
  readonly timeout: number
  readonly allowPrivateNetworks: readonly string[]
  /** Of the decoded body, in bytes. Defaults to 1 MiB. */
  readonly maxBytes?: number
  /** Defaults to `node:dns`' lookup. */
  readonly resolve?: Resolve
}

const MEBIBYTE = 1024 * 1024

export function createGuardedFetch(options: GuardedFetchOptions): GuardedFetch {
  const { timeout, maxBytes = MEBIBYTE, resolve } = options
  const allowed = parseAllowList(options.allowPrivateNetworks)
  const agents = new Map<Reach, Agent>()
  const agentFor = (reach: Reach): Agent => {
    const agent = agents.get(reach) ?? createGuardedAgent(reach, allowed, resolve)
    agents.set(reach, agent)
    return agent
  }

  return async function guardedFetch(input, init, reach) {
    const url = assertEndpointUrl(input, 'URL of a request')
    const deadline = AbortSignal.timeout(timeout)
    const signal = init?.signal ? AbortSignal.any([deadline, init.signal]) : deadline
    try {
      const response = await fetch(url, {
        ...init,
        signal,
        redirect: 'manual',
        // Node's fetch takes an undici dispatcher; its types do not say so.
        ...({ dispatcher: agentFor(reach) } as object),
      })
      if (isRedirect(response)) {
        await response.body?.cancel()
        throw new McpDcrError(
          'redirect_refused',
          `${url.origin}${url.pathname} redirects, which is not followed.`,
          {
            fix: 'Configure the URL that it redirects to.',
          },
        )
      }
      return await buffered(response, url, maxBytes)
    } catch (error) {
      throw deadline.aborted && !(error instanceof McpDcrError)
        ? timedOut(url, timeout)
        : networkError(error, url)
    }
  }
}

function isRedirect({ status, headers }: Response): boolean {
  return status >= 300 && status < 400 && headers.has('location')
}

/** A response whose body is here already. The decoded bytes are counted: a small compressed body may be a large one. */
async function buffered(response: Response, url: URL, maxBytes: number): Promise<Response> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > maxBytes) {
      throw new McpDcrError(
        'response_too_large',
        `${url.origin}${url.pathname} sent more than ${maxBytes} bytes.`,
      )
    }
    chunks.push(chunk)
  }
  const headers = new Headers(response.headers)
  headers.delete('content-encoding')
  headers.delete('content-length')
  const hasBody = ![101, 204, 205, 304].includes(response.status)
  return new Response(hasBody ? Buffer.concat(chunks) : null, { status: response.status, headers })
}

function timedOut(url: URL, timeout: number): McpDcrError {
  return new McpDcrError(
    'request_timeout',
    `${url.origin}${url.pathname} did not answer within ${timeout} ms.`,
    {
      fix: 'Try again; if the server is known to be slow, raise the timeout option.',
    },
  )
}

/** Our own error where one caused the failure, as a refused address does; else `request_failed`. */
function networkError(error: unknown, url: URL): McpDcrError {
  for (
    let depth = 0, current = error;
    depth < 5 && current instanceof Error;
    depth++, current = current.cause
  ) {
    if (current instanceof McpDcrError) return current
  }
  return new McpDcrError('request_failed', `${url.origin} could not be reached.`, {
    cause: error,
    fix: 'Check that the server is up and that its name and certificate are right.',
  })
}

/** Whether a URL's host is loopback: the one place where http is allowed. */
export function isLoopbackUrl(url: string): boolean {
  return isLoopbackHost(new URL(url).hostname)
}

/**
 * A URL that may be requested, or opened in a browser: https, or http on loopback (SPEC 14); so never
 * `javascript:`, `data:`, `file:` or `vbscript:`.
 *
 * @param what names the URL in the error
 * @throws McpDcrError `insecure_url`
 */
export function assertEndpointUrl(url: unknown, what: string): URL {
  const text = typeof url === 'string' || url instanceof URL ? String(url) : ''
  const refuse = (why: string): McpDcrError =>
    new McpDcrError('insecure_url', `The ${what} ${why}: ${quoteUntrusted(url)}.`, {
      fix: 'The server has to give an https URL; http is for loopback alone.',
    })
  if (!URL.canParse(text)) throw refuse('is not a URL')
  const parsed = new URL(text)
  if (parsed.protocol !== 'https:' && !(parsed.protocol === 'http:' && isLoopbackHost(parsed.hostname))) {
    throw refuse('is not https')
  }
  if (parsed.username !== '' || parsed.password !== '') throw refuseCredentials(what)
  if (parsed.hash !== '') throw refuse('has a fragment')
  return parsed
}

function refuseCredentials(what: string): McpDcrError {
  return new McpDcrError('insecure_url', `The ${what} contains a user name or password.`, {
    fix: 'Remove them from the URL.',
  })
}
