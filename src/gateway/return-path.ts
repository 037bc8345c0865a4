/**
 * The path and query at which a browser sees this request. Taken at the middleware's own place in the app:
 * what is mounted further down, or stripped by a proxy in front, is part of the base URL.
 */
export function publicPath(baseUrl: string, url: string): string | undefined {
  const own = returnPath(url)
  return own === undefined ? undefined : returnPath(new URL(baseUrl).pathname.replace(/\/$/, '') + own)
}

/**
 * The path and query of a URL on the gateway, or undefined where it would lead anywhere else: never an open
 * redirector (SPEC 31). The URL parser decides what a browser would make of `//`, `/\` and their like.
 */
export function returnPath(url: unknown): string | undefined {
  if (typeof url !== 'string' || !url.startsWith('/') || url.length > 2000) return undefined
  const base = 'http://gateway.invalid'
  if (!URL.canParse(url, base)) return undefined
  const { origin, pathname, search } = new URL(url, base)
  return origin === base && !pathname.startsWith('//') ? pathname + search : undefined
}
