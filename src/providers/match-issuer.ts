/** Whether an issuer identifier is one of these; the forms are those of `ProviderProfile.issuers`. */
export function matchesIssuer(patterns: readonly string[], issuer: string): boolean {
  return URL.canParse(issuer) && patterns.some((pattern) => matches(pattern, issuer))
}

function matches(pattern: string, issuer: string): boolean {
  const { origin, protocol, hostname, pathname } = new URL(issuer)
  if (!pattern.includes('*')) {
    // RFC 8414 §3.3 compares issuers as strings; an origin is no issuer but where issuers are.
    const own = new URL(pattern)
    return own.pathname === '/' ? own.origin === origin : pattern === issuer
  }
  const [host = '', ...segments] = pattern.split('/')
  // http is for loopback alone, which is refused elsewhere; what runs on any host runs there too, to try it.
  const isScheme = protocol === 'https:' || (protocol === 'http:' && host === '*')
  return isScheme && matchesHost(host, hostname) && endsWith(segments, pathname)
}

/** A leading `*` is one label or more, any other just one. */
function matchesHost(pattern: string, hostname: string): boolean {
  const labels = pattern.toLowerCase().split('.').reverse()
  const actual = hostname.split('.').reverse()
  const isOpen = labels.at(-1) === '*'
  if (isOpen ? actual.length < labels.length : actual.length !== labels.length) return false
  return labels.every((label, i) => label === '*' || label === actual[i])
}

function endsWith(pattern: readonly string[], pathname: string): boolean {
  const actual = pathname.split('/').filter((segment) => segment !== '')
  const end = actual.slice(actual.length - pattern.length)
  return end.length === pattern.length && pattern.every((segment, i) => segment === '*' || segment === end[i])
}

/** Whether this is one of the forms of `ProviderProfile.issuers`. */
export function isIssuerPattern(pattern: string): boolean {
  if (!pattern.includes('*')) {
    const url = URL.canParse(pattern) ? new URL(pattern) : undefined
    return url !== undefined && url.search === '' && url.hash === '' && url.username === ''
  }
  const [host = '', ...segments] = pattern.split('/')
  const isHost = /^(?:\*|[a-z0-9-]+)(?:\.(?:\*|[a-z0-9-]+))*$/i.test(host)
  // Of a host's last two labels none may be open: `*.com` is nobody's.
  const isSomebodys = host === '*' ? segments.length > 0 : !host.split('.').slice(-2).includes('*')
  return isHost && isSomebodys && segments.every((segment) => segment === '*' || /^[\w.~-]+$/.test(segment))
}
