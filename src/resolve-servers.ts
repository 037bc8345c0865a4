import { faultsOf, OPTIONS, refuse, type Origin } from './check-options.js'
import type { Server, ServerOAuth } from './model.js'
import { serverOptionsSchema } from './options-schema.js'
import type { OAuthConfig, ServerOptions, Servers } from './options.js'
import { serverPath } from './server-path.js'

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
  refuse(serverFaults(servers, root), origin)
  return Object.freeze(Object.entries(servers as Servers).map(([name, value]) => resolveServer(name, value)))
}

/** What is wrong with servers, all of it. */
export function serverFaults(servers: unknown, root = 'servers'): string[] {
  if (typeof servers !== 'object' || servers === null || Symbol.iterator in servers) {
    return [`\`${root}\` has to be an object of MCP servers by name`]
  }
  const faults = Object.entries(servers).flatMap(([name, value]) => [
    ...(isPossible(name) ? [] : [`\`${root}\`: ${JSON.stringify(name)} cannot be the name of a server`]),
    ...faultsOf(serverOptionsSchema, withUrl(value), `${root}.${name}`),
  ])
  return faults.length > 0 ? faults : samePathFaults(servers as Servers, root)
}

function isPossible(name: string): boolean {
  // A lone surrogate cannot be encoded in a path.
  return !IMPOSSIBLE_NAMES.includes(name) && !/\p{Surrogate}/u.test(name)
}

function withUrl(value: unknown): unknown {
  return typeof value === 'string' ? { url: value } : value
}

function samePathFaults(servers: Servers, root: string): string[] {
  const owners = new Map<string, string>()
  const faults: string[] = []
  for (const [name, value] of Object.entries(servers)) {
    const { path } = resolveServer(name, value)
    const owner = owners.get(path)
    if (owner === undefined) owners.set(path, name)
    else faults.push(`\`${root}\`: "${owner}" and "${name}" have the same path ${path}`)
  }
  return faults
}

function resolveServer(name: string, value: string | ServerOptions): Server & { path: string } {
  const options = withUrl(value) as ServerOptions
  return Object.freeze({
    name,
    url: options.url,
    path: serverPath(options.path ?? `/mcp/${encodeURIComponent(name)}`),
    declared: true,
    oauth: resolveOAuth(options.oauthConfig ?? {}),
  })
}

function resolveOAuth(config: OAuthConfig): ServerOAuth {
  const { scopes, clientMetadata, authorizationParams, strictResource, ...rest } = config
  const { dangerouslyAllowMissingPkceMetadata: allowMissingPkceMetadata, ...oauth } = rest
  const scope = (Array.isArray(scopes) ? scopes : (scopes ?? '').split(/\s+/))
    .filter((token) => token !== '')
    .join(' ')
  return Object.freeze({
    ...withoutUndefined(oauth),
    ...(scope !== '' && { scopes: scope }),
    clientMetadata: Object.freeze({ ...clientMetadata }),
    authorizationParams: Object.freeze({ ...authorizationParams }),
    ...(allowMissingPkceMetadata !== undefined && { allowMissingPkceMetadata }),
    strictResource: strictResource ?? false,
  })
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T
}
