export interface Cookie {
  readonly name: string
  readonly value: string
  /** Without the port: browsers share cookies between the ports of one host. */
  readonly host: string
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  readonly sameSite: string | undefined
  /** Epoch milliseconds; undefined for a session cookie. */
  readonly expiresAt: number | undefined
}

/**
 * A browser's cookies (RFC 6265bis), host-only. `Secure` means https, on loopback too, as in Safari; Chrome and
 * Firefox trust loopback.
 */
export class CookieJar {
  #cookies: Cookie[] = []
  readonly #clock: () => number
  readonly #isSecure: (url: URL) => boolean

  constructor(clock: () => number, trustLoopback = false) {
    this.#clock = clock
    this.#isSecure = ({ protocol, hostname }) =>
      protocol === 'https:' || (trustLoopback && hostname === 'localhost')
  }

  /** The cookies that would be sent to a URL, longest path first. */
  for(url: URL): Cookie[] {
    const now = this.#clock()
    return this.#cookies
      .filter((it) => it.host === url.hostname && pathMatches(it.path, url.pathname))
      .filter((it) => !it.secure || this.#isSecure(url))
      .filter((it) => it.expiresAt === undefined || it.expiresAt > now)
      .sort((a, b) => b.path.length - a.path.length)
  }

  header(url: URL): string | undefined {
    const cookies = this.for(url).map(({ name, value }) => `${name}=${value}`)
    return cookies.length > 0 ? cookies.join('; ') : undefined
  }

  /** Takes one `Set-Cookie` value as a browser would, which may mean ignoring it. */
  set(url: URL, setCookie: string) {
    const cookie = parse(url, setCookie, this.#clock(), this.#isSecure(url))
    if (!cookie) return
    this.#cookies = this.#cookies.filter(
      (it) => it.name !== cookie.name || it.host !== cookie.host || it.path !== cookie.path,
    )
    if (cookie.expiresAt === undefined || cookie.expiresAt > this.#clock()) this.#cookies.push(cookie)
  }

  clear() {
    this.#cookies = []
  }
}

function parse(url: URL, setCookie: string, now: number, isSecure: boolean): Cookie | undefined {
  const [pair = '', ...rest] = setCookie.split(';').map((it) => it.trim())
  const attributes = new Map(
    rest.map((it) => {
      const [name, value] = splitOnce(it)
      return [name.toLowerCase(), value]
    }),
  )
  const [name, value] = splitOnce(pair)
  const domain = attributes.get('domain')?.replace(/^\./, '')
  const path = attributes.get('path')
  const secure = attributes.has('secure')

  if (domain !== undefined && domain !== url.hostname) return undefined
  if (secure && !isSecure) return undefined
  if (name.startsWith('__Secure-') && !secure) return undefined
  if (name.startsWith('__Host-') && (!secure || path !== '/' || domain !== undefined)) return undefined

  const maxAge = attributes.get('max-age')
  const expires = attributes.get('expires')
  return {
    name,
    value,
    host: url.hostname,
    path: path?.startsWith('/') ? path : defaultPath(url),
    secure,
    httpOnly: attributes.has('httponly'),
    sameSite: attributes.get('samesite'),
    expiresAt:
      maxAge !== undefined
        ? now + Number(maxAge) * 1000
        : expires !== undefined
          ? Date.parse(expires)
          : undefined,
  }
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function defaultPath({ pathname }: URL): string {
  const end = pathname.lastIndexOf('/')
  return end <= 0 ? '/' : pathname.slice(0, end)
}

function pathMatches(cookiePath: string, path: string): boolean {
  if (path === cookiePath) return true
  return path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`)
}
