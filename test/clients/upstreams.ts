import { decodeJwt } from 'jose'
import { startModernMcpServer } from '../interop/modern-mcp-server.js'
import type { World } from '../support/gateway.js'
import type { TestServer } from '../support/server.js'

/** An MCP server that can be told to refuse tokens. Calling `add` needs the scope `read`, which its metadata does not mention. */
export interface Upstream extends TestServer {
  /** Refuses every token that it has seen until now. */
  rejectSeen(): void
}

/** It speaks 2026-07-28, and older versions without sessions. */
export async function startModernUpstream({ authorizationServer }: World): Promise<Upstream> {
  return refusing(await startModernMcpServer(authorizationServer))
}

/** It speaks 2025-11-25, with sessions and event streams. */
export async function startUpstreamWithSessions(world: World): Promise<Upstream> {
  return refusing(await world.addMcpServer({ sessions: true, answerAs: 'event-stream' }))
}

function refusing(server: TestServer): Upstream {
  const rejected = new Set<string | undefined>()
  const { origin, pathname } = new URL(server.url)
  const metadata = `resource_metadata="${origin}/.well-known/oauth-protected-resource${pathname}"`
  server.intercept = (_req, res, { authorization, body }) => {
    if (authorization === undefined) return false
    const refuse = (status: 401 | 403, challenge: string): boolean => {
      res.writeHead(status, { 'www-authenticate': `Bearer ${challenge}, ${metadata}` }).end()
      return true
    }
    if (rejected.has(authorization)) return refuse(401, 'error="invalid_token"')
    if (!isCallOfAdd(body) || scopesOf(authorization).includes('read')) return false
    return refuse(403, 'error="insufficient_scope", scope="mcp:read read"')
  }
  return Object.assign(server, {
    rejectSeen: () => server.requests.forEach(({ authorization }) => rejected.add(authorization)),
  })
}

function isCallOfAdd(body: string): boolean {
  return body.includes('"method":"tools/call"') && body.includes('"name":"add"')
}

function scopesOf(authorization: string): string[] {
  return decodeJwt<{ scope: string }>(authorization.slice('Bearer '.length)).scope.split(' ')
}
