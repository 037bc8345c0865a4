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

/** The server that a URL belongs to: same origin, the longest path that covers it. */
export function serverOfUrl(servers: readonly Server[], url: URL): Server | undefined {
  let found: { server: Server; length: number } | undefined
  for (const server of servers) {
    const { origin, pathname } = new URL(server.url)
    const prefix = pathname.replace(/\/$/, '')
    if (origin === url.origin && isUnder(url.pathname, prefix) && prefix.length > (found?.length ?? -1)) {
      found = { server, length: prefix.length }
    }
  }
  return found?.server
}
