import { McpDcrError, quoteUntrusted } from '../errors.js'
import { isLoopbackHost } from './network.js'

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
  const text = typeof url === 'string' || url instanceof URL ? String(url) : undefined
  if (text === undefined) throw refused(what, `is not a URL but of type ${typeof url}`)
  if (!URL.canParse(text)) throw refused(what, 'is not an absolute URL')
  const parsed = new URL(text)
  if (parsed.protocol !== 'https:' && !(parsed.protocol === 'http:' && isLoopbackHost(parsed.hostname))) {
    throw refused(what, `is not https: ${shown(parsed)}`)
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw refused(what, `contains a user name or password: ${shown(parsed)}`)
  }
  if (parsed.hash !== '') throw refused(what, `has a fragment: ${shown(parsed)}`)
  return parsed
}

/** A URL for a message: without user name, password, query and fragment, which may hold secrets. */
export function shown({ protocol, host, pathname }: URL): string {
  return quoteUntrusted(host === '' ? `${protocol}…` : `${protocol}//${host}${pathname}`)
}

function refused(what: string, why: string): McpDcrError {
  return new McpDcrError('insecure_url', `The ${what} ${why}.`, {
    fix: 'It has to be an https URL without user name and fragment; http is for loopback alone.',
  })
}
