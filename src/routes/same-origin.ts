import type { IncomingMessage } from 'node:http'
import { McpDcrError } from '../errors.js'

/**
 * Refuses a changing request that a page of another origin sent: browsers say where it comes from
 * (`Sec-Fetch-Site`, in older ones `Origin`). What says neither is no browser, and has no cookies to abuse.
 *
 * @throws McpDcrError `cross_site_request`
 */
export function assertSameOrigin({ headers }: IncomingMessage, baseUrl: string): void {
  const site = headers['sec-fetch-site']
  const isOwn =
    site === undefined
      ? headers.origin === undefined || headers.origin === new URL(baseUrl).origin
      : site === 'same-origin' || site === 'none'
  if (isOwn) return
  throw new McpDcrError('cross_site_request', 'A page of another origin sent this request.', {
    fix: 'Use the gateway’s own pages, or a program that sends no Origin header.',
  })
}
