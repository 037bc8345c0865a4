import { setImmediate } from 'node:timers/promises'
import type { Agent } from 'undici'
import { McpDcrError } from '../errors.js'
import { assertEndpointUrl, shown } from './endpoint-url.js'
import { createGuardedAgent, type Resolve } from './guarded-dispatcher.js'
import { parseAllowList, type Reach } from './network.js'

export { assertEndpointUrl, isLoopbackUrl } from './endpoint-url.js'
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
  options?: {
    /** Leaves the body, which may be a stream without end. Defaults to false. */
    headersOnly?: boolean
  },
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
  const agents = new Map<Reach, Promise<Agent>>()
  const agentFor = (reach: Reach): Promise<Agent> => {
    const agent = agents.get(reach) ?? createGuardedAgent(reach, allowed, resolve)
    agents.set(reach, agent)
    return agent
  }

  return async function guardedFetch(input, init, reach, { headersOnly = false } = {}) {
    const url = assertEndpointUrl(input, 'URL of a request')
    const abort = createAbort(timeout, init?.signal)
    let failure = 'could not be reached'
    try {
      const response = await fetch(url, {
        ...init,
        signal: abort.signal,
        redirect: 'manual',
        // Node's fetch takes an undici dispatcher; its types do not say so.
        ...({ dispatcher: await agentFor(reach) } as object),
      })
      failure = 'broke off its answer'
      if (isRedirect(response)) {
        await response.body?.cancel()
        throw redirectRefused(url)
      }
      if (headersOnly) {
        await response.body?.cancel()
        return new Response(null, { status: response.status, headers: response.headers })
      }
      const answer = await buffered(response, url, maxBytes)
      // In this turn the connection is not free yet: the next request to this origin would open another one.
      await setImmediate()
      return answer
    } catch (error) {
      if (error instanceof McpDcrError) throw error
      if (abort.isLate()) throw timedOut(url, timeout)
      if (init?.signal?.aborted === true) failure = 'was not waited for: the caller gave up'
      throw networkError(error, url, failure)
    } finally {
      abort.detach()
    }
  }
}

/**
 * Aborts after a time, or with the caller's signal, until it is detached. Nothing may abort what has failed: Node 20's
 * fetch ends the process then, where the answer had too many content encodings.
 */
function createAbort(
  timeout: number,
  callers: AbortSignal | null | undefined,
): { signal: AbortSignal; isLate(): boolean; detach(): void } {
  const controller = new AbortController()
  let late = false
  const timer = setTimeout(() => {
    late = true
    controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'))
  }, timeout)
  const follow = (): void => controller.abort(callers?.reason)
  if (callers?.aborted === true) follow()
  else callers?.addEventListener('abort', follow, { once: true })
  return {
    signal: controller.signal,
    isLate: () => late,
    detach() {
      clearTimeout(timer)
      callers?.removeEventListener('abort', follow)
    },
  }
}

function isRedirect({ status, headers }: Response): boolean {
  return status >= 300 && status < 400 && headers.has('location')
}

/** A response whose body is here already. The decoded bytes are counted: a small compressed body may be a large one. */
async function buffered(response: Response, url: URL, maxBytes: number): Promise<Response> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > maxBytes) {
      throw new McpDcrError('response_too_large', `${shown(url)} sent more than ${maxBytes} bytes.`, {
        fix: 'Check that the URL is the right one: metadata and tokens are far smaller.',
      })
    }
    chunks.push(chunk)
  }
  const headers = new Headers(response.headers)
  headers.delete('content-encoding')
  headers.delete('content-length')
  const hasBody = ![101, 204, 205, 304].includes(response.status)
  return new Response(hasBody ? Buffer.concat(chunks) : null, { status: response.status, headers })
}

function redirectRefused(url: URL): McpDcrError {
  return new McpDcrError('redirect_refused', `${shown(url)} redirects, which is not followed.`, {
    fix: 'Configure the URL that it redirects to.',
  })
}

function timedOut(url: URL, timeout: number): McpDcrError {
  return new McpDcrError('request_timeout', `${shown(url)} did not answer within ${timeout} ms.`, {
    fix: 'Try again; if the server is known to be slow, raise the timeout option.',
  })
}

/** Our own error where one caused the failure, as a refused address does; else `request_failed`. */
function networkError(error: unknown, url: URL, failure: string): McpDcrError {
  for (
    let depth = 0, current = error;
    depth < 5 && current instanceof Error;
    depth++, current = current.cause
  ) {
    if (current instanceof McpDcrError) return current
    // undici's parser error holds a piece of the body, and causes are logged.
    if ('data' in current) Reflect.deleteProperty(current, 'data')
  }
  return new McpDcrError('request_failed', `${url.origin} ${failure}.`, {
    cause: error,
    fix: 'Check that the server is up and that its name and certificate are right.',
  })
}
