import { McpDcrError } from '../errors.js'
import { canonicalPath } from '../server-path.js'

/** RFC 9728 §3, RFC 8414 §3, OpenID Connect Discovery §4, each below an MCP server's path. */
const METADATA =
  /\/\.well-known\/(?:oauth-protected-resource|oauth-authorization-server|openid-configuration)(?:\/|$)/

/**
 * Metadata below a server's path is the upstream's: it would lead an MCP client to authorize itself there, for
 * another resource than the gateway, past everything that the gateway does.
 *
 * @throws McpDcrError `not_found`
 */
export function refuseMetadata(requestPath: string): void {
  if (!METADATA.test(canonicalPath(requestPath))) return
  throw new McpDcrError('not_found', 'The gateway has no OAuth metadata of its own.', {
    fix: 'No client has to authorize itself here: the gateway signs people in to its MCP servers.',
  })
}
