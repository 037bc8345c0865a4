import type { IncomingMessage } from 'node:http'

/**
 * Whether a person's browser asks for a page, so that a redirect leads them somewhere. Browsers say so
 * (`Sec-Fetch-Mode`); older ones, and plain http in some, show it by what they accept.
 */
export function isNavigation({ method, headers }: IncomingMessage): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const mode = headers['sec-fetch-mode']
  return mode === undefined ? headers.accept?.includes('text/html') === true : mode === 'navigate'
}

/** Whether a page's form was sent, after which a person wants to see a page. */
export function isFormSubmission({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' && headers.accept?.includes('text/html') === true
}
