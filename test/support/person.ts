import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { CookieJar, type Cookie } from './cookie-jar.js'
import { formsOf } from './forms.js'

export interface Hop {
  readonly method: string
  readonly url: string
  readonly status: number
  /** Absolute, where the answer is a redirect. */
  readonly location: string | undefined
  readonly headers: Headers
  readonly text: string
}

/** An answer, as the browser shows it. */
export interface Page extends Hop {
  /** Every request that led here, this one the last. */
  readonly hops: readonly Hop[]
}

export interface RequestOptions {
  method?: string
  headers?: Record<string, string>
  body?: string
}

export interface FollowOptions extends RequestOptions {
  /** Stops before this URL is requested; the page is then the redirect to it. */
  until?: (url: URL) => boolean
}

export interface SignInOptions extends FollowOptions {
  /** Defaults to `alice`. */
  login?: string
  /** Defaults to `allow`. */
  decision?: 'allow' | 'deny'
}

export interface PersonOptions {
  /** Epoch milliseconds, for the cookies' ages. Defaults to `Date.now`. */
  clock?: () => number
  /** Where an origin really listens, for one behind a proxy that ends TLS: `{'https://gateway.example.com': 'http://localhost:3000'}`. */
  hosts?: Record<string, string>
  /** Takes `Secure` cookies over http on loopback, as Chrome and Firefox do, and Safari does not. Defaults to false. */
  trustLoopback?: boolean
}

export interface Person {
  /** Navigates: one request, no redirect followed. */
  open(url: string | URL, options?: RequestOptions): Promise<Page>
  /** Navigates, and follows redirects. */
  follow(url: string | URL, options?: FollowOptions): Promise<Page>
  /** Fills in the form that has all these fields, sends it, and follows redirects. */
  submit(page: Page, fields: Record<string, string>, options?: FollowOptions): Promise<Page>
  /** Navigates, and gets through the authorization server's sign-in and consent pages wherever they come up. */
  signIn(url: string | URL, options?: SignInOptions): Promise<Page>
  /** What a script on a page of that origin does with `fetch`: cookies, but no navigation. */
  fetch(url: string | URL, options?: RequestOptions): Promise<Page>
  /** The cookies that would be sent to this URL, by name. */
  cookies(url: string | URL): Record<string, string>
  cookieDetails(url: string | URL): Cookie[]
  /** Takes a `Set-Cookie` value as if this URL had answered it. */
  setCookie(url: string | URL, setCookie: string): void
  clearCookies(): void
}

const MAX_HOPS = 20

type Site = 'none' | 'same-origin' | 'same-site' | 'cross-site'

/** A person in a browser, without a browser. */
export function createPerson({ clock = Date.now, hosts = {}, trustLoopback }: PersonOptions = {}): Person {
  const jar = new CookieJar(clock, trustLoopback)

  // Not the global fetch: it would replace the Sec-Fetch headers by its own.
  async function send(url: URL, site: Site, navigation: boolean, options: RequestOptions): Promise<Page> {
    const { method = 'GET', headers = {}, body } = options
    const dialled = new URL(url.pathname + url.search, hosts[url.origin] ?? url.origin)
    const cookie = jar.header(url)
    const answer = await exchange(dialled, method, body, {
      host: url.host,
      accept: navigation ? 'text/html,application/xhtml+xml,*/*;q=0.8' : '*/*',
      'sec-fetch-mode': navigation ? 'navigate' : 'cors',
      'sec-fetch-dest': navigation ? 'document' : 'empty',
      'sec-fetch-site': site,
      ...(navigation ? { 'sec-fetch-user': '?1', 'upgrade-insecure-requests': '1' } : {}),
      ...(dialled.protocol === url.protocol ? {} : { 'x-forwarded-proto': url.protocol.slice(0, -1) }),
      ...(cookie === undefined ? {} : { cookie }),
      ...headers,
    })
    for (const setCookie of answer.headers.getSetCookie()) jar.set(url, setCookie)
    const target = answer.headers.get('location')
    const location =
      answer.status >= 300 && answer.status < 400 && target ? new URL(target, url).href : undefined
    const { headers: answered, text } = answer
    const hop = { method, url: url.href, status: answer.status, location, headers: answered, text }
    return { ...hop, hops: [hop] }
  }

  async function navigate(
    start: URL,
    from: Site,
    { until, ...options }: FollowOptions,
    before: readonly Hop[],
  ) {
    checkHops(before)
    let page = await send(start, from, true, options)
    let hops = [...before, ...page.hops]
    let site = from
    let request: RequestOptions = options
    while (page.location !== undefined && !until?.(new URL(page.location))) {
      checkHops(hops)
      const [url, next] = [new URL(page.url), new URL(page.location)]
      site = farther(site, siteOf(url, next))
      const again = page.status === 307 || page.status === 308
      if (!again) request = { headers: withoutContent(request.headers) }
      page = await send(next, site, true, request)
      hops = [...hops, ...page.hops]
    }
    return { ...page, hops }
  }

  async function submit(page: Page, fields: Record<string, string>, options: FollowOptions = {}) {
    const form = formsOf(page.text).find((it) => Object.keys(fields).every((name) => it.fields.has(name)))
    if (!form) throw new Error(`no form with ${Object.keys(fields).join(', ')} on ${page.url}:\n${page.text}`)
    const from = new URL(page.url)
    const url = new URL(form.action || page.url, page.url)
    const body = new URLSearchParams({ ...form.defaults, ...fields }).toString()
    const { headers, ...rest } = options
    const request: FollowOptions =
      form.method === 'POST'
        ? {
            ...rest,
            method: 'POST',
            body,
            headers: { 'content-type': 'application/x-www-form-urlencoded', origin: from.origin, ...headers },
          }
        : options
    if (form.method !== 'POST') url.search = body
    return navigate(url, siteOf(from, url), request, page.hops)
  }

  return {
    open: (url, options = {}) => send(new URL(url), 'none', true, options),
    follow: (url, options = {}) => navigate(new URL(url), 'none', options, []),
    submit,
    async signIn(url, { login = 'alice', decision = 'allow', ...options } = {}) {
      const only = options.until ? { until: options.until } : {}
      let page = await navigate(new URL(url), 'none', options, [])
      for (;;) {
        const fields = new Set(
          page.location === undefined ? formsOf(page.text).flatMap((it) => [...it.fields.keys()]) : [],
        )
        if (fields.has('login') && fields.has('password')) {
          page = await submit(page, { login, password: 'any' }, only)
        } else if (fields.has('decision')) {
          page = await submit(page, { decision }, only)
        } else {
          return page
        }
      }
    },
    fetch: (url, options = {}) => send(new URL(url), 'same-origin', false, options),
    cookies: (url) => Object.fromEntries(jar.for(new URL(url)).map(({ name, value }) => [name, value])),
    cookieDetails: (url) => jar.for(new URL(url)),
    setCookie: (url, setCookie) => jar.set(new URL(url), setCookie),
    clearCookies: () => jar.clear(),
  }
}

function checkHops(hops: readonly Hop[]) {
  if (hops.length >= MAX_HOPS) throw new Error(`too many pages:\n${hops.map((it) => it.url).join('\n')}`)
}

function siteOf(from: URL, to: URL): Site {
  if (from.origin === to.origin) return 'same-origin'
  return from.protocol === to.protocol && from.hostname === to.hostname ? 'same-site' : 'cross-site'
}

/** A chain of redirects is as far as its farthest step; typed into the address bar, it stays `none`. */
function farther(a: Site, b: Site): Site {
  const order: Site[] = ['same-origin', 'same-site', 'cross-site']
  return a === 'none' ? 'none' : order[Math.max(order.indexOf(a), order.indexOf(b))]!
}

function withoutContent(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !['content-type', 'origin'].includes(name.toLowerCase())),
  )
}

function exchange(url: URL, method: string, body: string | undefined, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: Headers; text: string }>((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send(
      url,
      // A test's own certificate is signed by nobody.
      { method, headers: { ...headers, ...length }, agent: false, rejectUnauthorized: false },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          const answered = new Headers()
          const raw = response.rawHeaders
          for (let i = 0; i < raw.length; i += 2) answered.append(raw[i]!, raw[i + 1]!)
          resolve({
            status: response.statusCode ?? 0,
            headers: answered,
            text: Buffer.concat(chunks).toString(),
          })
        })
      },
    )
    request.once('error', reject)
    request.end(body)
  })
}
