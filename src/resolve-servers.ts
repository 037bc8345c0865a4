import { checked, invalid, OPTIONS, type Origin } from './check-options.js'
import type { Server, ServerOAuth } from './model.js'
import { oauthConfigSchema, serverOptionsSchema } from './options-schema.js'
import type { OAuthConfig, ServerOptions } from './options.js'

const OAUTH_KEYS = Object.keys(oauthConfigSchema.shape)
const SERVER_KEYS = Object.keys(serverOptionsSchema.shape)
/** Names that would be lost in a URL's path, or in an object. */
const IMPOSSIBLE_NAMES = ['', '.', '..', '__proto__']

/**
 * The servers of the `servers` option, of a function's answer, or of `mcp.json`.
 *
 * @throws McpDcrError the origin's code
 */
export function resolveServers(
  servers: unknown,
  origin: Origin = OPTIONS,
  root = 'servers',
): readonly Server[] {
  if (typeof servers !== 'object' || servers === null || Array.isArray(servers)) {
    throw invalid(origin, [`\`${root}\` has to be an object of MCP servers by name`])
  }
  const resolved = Object.entries(servers).map(([name, value]) =>
    resolveServer(name, value, { ...origin, path: `${root}.${name}` }),
  )
  assertDistinctPaths(resolved, origin)
  return Object.freeze(resolved)
}

function resolveServer(name: string, value: unknown, origin: Origin): Server {
  if (IMPOSSIBLE_NAMES.includes(name)) throw invalid(origin, [`"${name}" cannot be the name of a server`])
  const options = checkedServer(typeof value === 'string' ? { url: value } : value, origin)
  const path = options.path ?? `/mcp/${encodeURIComponent(name)}`
  return Object.freeze({
    name,
    url: options.url,
    path: path.replace(/\/+$/, ''),
    declared: true,
    oauth: resolveOAuth(options.oauthConfig ?? {}),
  })
}

function checkedServer(value: unknown, origin: Origin): ServerOptions {
  // A misspelt key of oauthConfig is compared with the names that oauthConfig has.
  const oauthConfig =
    typeof value === 'object' && value !== null && 'oauthConfig' in value ? value.oauthConfig : undefined
  if (oauthConfig !== undefined) {
    checked(oauthConfigSchema, oauthConfig, { ...origin, path: `${origin.path}.oauthConfig` }, OAUTH_KEYS)
  }
  return checked(serverOptionsSchema, value, origin, SERVER_KEYS) as ServerOptions
}

function resolveOAuth(config: OAuthConfig): ServerOAuth {
  const { scopes, clientMetadata, authorizationParams, strictResource, ...rest } = config
  const { dangerouslyAllowMissingPkceMetadata: allowMissingPkceMetadata, ...oauth } = rest
  const scope = (Array.isArray(scopes) ? scopes : (scopes ?? '').split(/\s+/))
    .filter((token) => token !== '')
    .join(' ')
  return Object.freeze({
    ...oauth,
    ...(scope !== '' && { scopes: scope }),
    clientMetadata: Object.freeze({ ...clientMetadata }),
    authorizationParams: Object.freeze({ ...authorizationParams }),
    allowMissingPkceMetadata: allowMissingPkceMetadata ?? false,
    strictResource: strictResource ?? false,
  })
}

function assertDistinctPaths(servers: readonly Server[], origin: Origin): void {
  const owners = new Map<string | undefined, string>()
  for (const { name, path } of servers) {
    const owner = owners.get(path)
    if (owner !== undefined)
      throw invalid(origin, [`the servers "${owner}" and "${name}" have the same path ${path}`])
    owners.set(path, name)
  }
}
