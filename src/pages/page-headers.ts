import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import helmet from 'helmet'
import { CONNECTED_SCRIPT, contentHash, STYLE } from './layout.js'

/**
 * helmet's headers for our pages, worked out once. They are recorded on a response of their own because a
 * page may also be the answer that replaces an intercepted one.
 */
export function pageHeaders(): Record<string, string> {
  const request = new IncomingMessage(new Socket())
  const recorded = new ServerResponse(request)
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        styleSrc: [contentHash(STYLE)],
        scriptSrc: [contentHash(CONNECTED_SCRIPT)],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    // The page after a sign-in in a pop-up tells its opener; `same-origin` would cut it off.
    crossOriginOpenerPolicy: { policy: 'unsafe-none' },
    // Whether the whole host is https for good is the gateway's own decision.
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
  })(request, recorded, () => undefined)
  const headers = Object.entries(recorded.getHeaders()).map(([name, value]) => [name, String(value)])
  return { ...(Object.fromEntries(headers) as Record<string, string>), 'cache-control': 'no-store' }
}
