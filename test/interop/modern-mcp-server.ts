import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  McpServer,
  oauthMetadataResponse,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth,
  type OAuthMetadata,
} from '@modelcontextprotocol/server'
import { createLocalJWKSet } from 'jose'
import { z } from 'zod'
import type { AuthorizationServer } from '../support/authorization-server.js'
import { checkToken } from '../support/check-token.js'
import { listen, type TestServer } from '../support/server.js'

/**
 * An MCP server on the official SDK's second generation, its Bearer authentication and metadata included:
 * it speaks 2026-07-28, and to older clients their own version. It has the tools of the first
 * generation's server that `test/support` starts.
 */
export async function startModernMcpServer({ issuer, jwks }: AuthorizationServer): Promise<TestServer> {
  const server = await listen()
  const url = new URL('/mcp', server.url)
  const rules = { issuer, resource: url.href, keys: createLocalJWKSet(jwks), clock: Date.now }
  const authenticate = requireBearerAuth({
    requiredScopes: ['mcp:read'],
    resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(url),
    verifier: {
      async verifyAccessToken(token) {
        const checked = await checkToken(token, rules)
        if (checked === undefined) throw new OAuthError(OAuthErrorCode.InvalidToken, 'not a token of ours')
        return checked
      },
    },
  })
  const metadata = {
    resourceServerUrl: url,
    scopesSupported: ['mcp:read', 'mcp:write'],
    oauthMetadata: { issuer } as OAuthMetadata,
  }
  const handler = createMcpHandler(createTools)

  async function answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname.startsWith('/.well-known/oauth-protected-resource')) {
      return oauthMetadataResponse(request, metadata) ?? new Response(null, { status: 404 })
    }
    // A proxy mounted at a path adds the slash.
    if (pathname.replace(/\/$/, '') !== url.pathname) return new Response(null, { status: 404 })
    const authInfo = await authenticate(request)
    return authInfo instanceof Response ? authInfo : handler.fetch(request, { authInfo })
  }

  server.serve(async (req, res) => {
    const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
    const { status, headers, body } = await answer(
      new Request(new URL(req.url ?? '/', server.url), {
        method: req.method ?? 'GET',
        headers: req.headers as Record<string, string>,
        ...(hasBody && { body: Readable.toWeb(req) as ReadableStream, duplex: 'half' }),
      }),
    )
    res.writeHead(status, Object.fromEntries(headers))
    if (body === null) return void res.end()
    // A client that has what it wanted may close the stream.
    await pipeline(Readable.fromWeb(body), res).catch(() => undefined)
  })
  return Object.assign(server, { url: url.href })
}

function createTools(): McpServer {
  const server = new McpServer({ name: 'modern-mcp-server', version: '1.0.0' })
  server.registerTool('whoami', { description: 'Says who you are' }, ({ http }) =>
    text(String(http?.authInfo?.extra?.subject ?? 'nobody')),
  )
  server.registerTool(
    'add',
    { description: 'Adds two numbers', inputSchema: z.object({ a: z.number(), b: z.number() }) },
    ({ a, b }) => text(String(a + b)),
  )
  server.registerTool(
    'count',
    {
      description: 'Counts up, with a progress notification for each step',
      inputSchema: z.object({ to: z.number() }),
    },
    async ({ to }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (let progress = 1; progress <= to && progressToken !== undefined; progress++) {
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: to },
        })
      }
      return text(`counted to ${to}`)
    },
  )
  return server
}

function text(it: string) {
  return { content: [{ type: 'text' as const, text: it }] }
}
