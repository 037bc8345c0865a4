import type { Server } from '../model.js'
import { canonicalPath } from '../server-path.js'

/** The server whose path a request is under: the longest path wins. */
export function resolveServer(servers: readonly Server[], requestPath: string): Server | undefined {
  const path = canonicalPath(requestPath)
  let found: Server | undefined
  for (const server of servers) {
    if (isUnder(path, server.path) && (server.path?.length ?? 0) > (found?.path?.length ?? -1)) found = server
  }
  return found
}

function isUnder(path: string, prefix: string | undefined): boolean {
  if (prefix === undefined || !path.startsWith(prefix)) return false
  return path.length === prefix.length || path[prefix.length] === '/'
}

/**
 * The server that a URL belongs to: same origin, the longest path that covers it, and of several the one
 * whose query it has. A server that is told apart by its query (`/mcp?project=a`) owns no URL with another.
 */
export function serverOfUrl(servers: readonly Server[], url: URL): Server | undefined {
  // Behind a proxy that decodes first, it would be a path that it is not.
  if (HIDDEN_STEP_UP.test(url.pathname)) return undefined
  let found: { server: Server; rank: number } | undefined
  for (const server of servers) {
    const { origin, pathname, searchParams } = new URL(server.url)
    const prefix = pathname.replace(/\/$/, '')
    if (origin !== url.origin || !isUnder(url.pathname, prefix)) continue
    const params = [...searchParams]
    const given = params.filter(([name]) => url.searchParams.has(name))
    if (given.some(([name, value]) => !url.searchParams.getAll(name).includes(value))) continue
    // The path decides; the query does among those with the same.
    const rank = prefix.length + given.length / (params.length + 1)
    if (rank > (found?.rank ?? -1)) found = { server, rank }
  }
  return found?.server
}

/** `..` between separators of which at least one is encoded; plain ones are resolved by `URL` itself. */
const HIDDEN_STEP_UP = /(?:^|\/|%2f|%5c)(?:\.|%2e){2}(?:$|\/|%2f|%5c)/i
