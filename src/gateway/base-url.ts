import type { IncomingMessage } from 'node:http'
import { McpDcrError } from '../errors.js'
import type { Config } from '../options.js'

/** Where everything of ours is mounted. */
export const ROUTES_PATH = '/api/oauth'

/**
 * The gateway's public URL, without a trailing slash. The `Host` header never decides it: where `baseUrl`
 * is not configured it is loopback, on the port that the request came in on.
 *
 * @throws McpDcrError `invalid_options` where there is no port
 */
export function baseUrlOf(config: Config, req: IncomingMessage): string {
  if (config.baseUrl !== undefined) return config.baseUrl
  const port = req.socket.localPort
  if (port !== undefined) return `http://localhost:${port}`
  throw new McpDcrError(
    'invalid_options',
    'This request came in on no port, so the gateway’s own URL is not known.',
    {
      fix: 'Set the baseUrl option: it is needed where the gateway listens on a Unix socket.',
    },
  )
}

/**
 * Whether the browser sees us under the base URL's own host, so that a cookie set now comes back to the
 * callback. `127.0.0.1` beside `localhost` is the common case where it does not.
 */
export function isOnBaseHost(req: IncomingMessage, baseUrl: string): boolean {
  return req.headers.host === new URL(baseUrl).host
}

/** Where a person starts to sign in to a server: carries nothing secret or personal. */
export function authorizeUrl(baseUrl: string, server: string, returnTo?: string): string {
  const url = `${baseUrl}${ROUTES_PATH}/authorize/${encodeURIComponent(server)}`
  return returnTo === undefined ? url : `${url}?return_to=${encodeURIComponent(returnTo)}`
}
