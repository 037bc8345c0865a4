import { abortable } from './abortable.js'
import { followRedirects, type Hop } from './follow-redirects.js'

type Input = Parameters<typeof fetch>[0]

/** One call of `fetch`, to be sent once or twice. */
export interface OutgoingRequest {
  readonly url: URL
  readonly method: string
  readonly body: Hop['body']
  readonly signal: AbortSignal | null | undefined
  /** Whether it can be sent again: a stream is gone once it has been read. */
  readonly replayable: boolean
  /**
   * @param tokenFor the token that goes to a URL: asked for the request's own, and for each that a redirect
   * leads to
   */
  send(tokenFor: (url: URL) => string | undefined): Promise<Response>
}

/**
 * What `fetch(input, init)` would send, without the caller's own `Authorization`. The body of a Request is read
 * before it is sent, so that it can be sent again; a stream that is to be sent while it is read goes into `init`.
 */
export async function outgoingRequest(input: Input, init: RequestInit = {}): Promise<OutgoingRequest> {
  const request = input instanceof Request ? input : undefined
  const signal = init.signal === undefined ? request?.signal : init.signal
  const body = init.body ?? (request?.body ? await abortable(signal, () => request.arrayBuffer()) : undefined)
  const headers = new Headers(init.headers ?? request?.headers)
  headers.delete('authorization')
  const redirect = init.redirect ?? request?.redirect ?? 'follow'
  const replayable = isReplayable(body)
  const url = new URL(input instanceof Request ? input.url : String(input))
  const method = init.method ?? request?.method ?? 'GET'
  const first: Hop = { url, method, headers, body }

  return {
    url,
    method,
    body,
    signal,
    replayable,
    send(tokenFor) {
      const sendHop = (hop: Hop): Promise<Response> => {
        const token = tokenFor(hop.url)
        const headers = new Headers(hop.headers)
        if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
        return fetch(hop === first ? input : hop.url, {
          ...init,
          method: hop.method,
          headers,
          body: hop.body ?? null,
          signal: signal ?? null,
          redirect: redirect === 'follow' ? 'manual' : redirect,
        })
      }
      return redirect === 'follow' ? followRedirects(first, replayable, sendHop) : sendHop(first)
    },
  }
}

function isReplayable(body: unknown): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === 'string' ||
    ArrayBuffer.isView(body) ||
    [ArrayBuffer, URLSearchParams, FormData, Blob].some((type) => body instanceof type)
  )
}
