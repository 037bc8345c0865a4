/**
 * The path and query at which a browser sees this request. Taken at the middleware's own place in the app:
 * what is mounted further down, or stripped by a proxy in front, is part of the base URL.
 */
export function publicPath(baseUrl: string, url: string): string | undefined {
  const own = localPath(url)
  return own === undefined ? undefined : localPath(new URL(baseUrl).pathname.replace(/\/$/, '') + own)
}

/** Of what a connect URL may ask for, in characters. */
const MAX_LENGTH = 2000

/** Where a connect URL says that the person wants to end: a path and query on the gateway, or undefined. */
export function returnPath(url: unknown): string | undefined {
  return typeof url === 'string' && url.length <= MAX_LENGTH ? localPath(url) : undefined
}

/**
 * The path and query of a URL on the gateway, or undefined where it would lead anywhere else: never an open
 * redirector (SPEC 31). The URL parser decides what a browser would make of `//`, `/\` and their like.
 */
function localPath(url: string): string | undefined {
  if (!url.startsWith('/')) return undefined
  const base = 'http://gateway.invalid'
  if (!URL.canParse(url, base)) return undefined
  const { origin, pathname, search } = new URL(url, base)
  return origin === base && !pathname.startsWith('//') ? pathname + search : undefined
}
