/** One of the requests that a call of `fetch` comes to. */
export interface Hop {
  readonly url: URL
  readonly method: string
  readonly headers: Headers
  readonly body: RequestInit['body']
}

/** Fetch Standard, HTTP-redirect fetch, step 6. */
const MAX_REDIRECTS = 20
const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** Fetch Standard, "request-body-header name", and the length, which is the body's own. */
const OF_THE_BODY = [
  'content-encoding',
  'content-language',
  'content-location',
  'content-type',
  'content-length',
]
/** What is meant for one origin alone (Fetch Standard, step 13; Node drops these two also). */
const OF_THE_ORIGIN = ['proxy-authorization', 'cookie', 'host']

/**
 * Follows redirects as `fetch` does (Fetch Standard, HTTP-redirect fetch), one request at a time: left to
 * `fetch` itself, a token would go to every other path of the same origin, where another server may be.
 *
 * @throws TypeError where `fetch` would
 */
export async function followRedirects(
  first: Hop,
  replayable: boolean,
  send: (hop: Hop) => Promise<Response>,
): Promise<Response> {
  let hop = first
  for (let redirects = 0; ; redirects++) {
    const response = await send(hop)
    const location = REDIRECTS.has(response.status) ? response.headers.get('location') : null
    if (location === null) {
      return redirects === 0 ? response : Object.defineProperty(response, 'redirected', { value: true })
    }
    await response.body?.cancel()
    if (redirects === MAX_REDIRECTS) throw failed('redirect count exceeded')
    hop = nextHop(hop, response.status, location, replayable)
  }
}

function nextHop(from: Hop, status: number, location: string, replayable: boolean): Hop {
  const url = URL.canParse(location, from.url.href) ? new URL(location, from.url.href) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw failed('the redirect leads to no http URL')
  if (url.hash === '') url.hash = from.url.hash
  const headers = new Headers(from.headers)
  if (url.origin !== from.url.origin) for (const name of OF_THE_ORIGIN) headers.delete(name)
  const method = from.method.toUpperCase()
  const becomesGet =
    (status <= 302 && method === 'POST') || (status === 303 && method !== 'GET' && method !== 'HEAD')
  if (becomesGet) {
    for (const name of OF_THE_BODY) headers.delete(name)
    return { url, method: 'GET', headers, body: undefined }
  }
  if (!replayable) throw failed('the body of a redirected request is a stream that has been read')
  return { url, method: from.method, headers, body: from.body }
}

function failed(reason: string): TypeError {
  return new TypeError('fetch failed', { cause: new Error(reason) })
}
