import { join } from 'node:path'
import express, { type Express } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { mcpDcr, type McpDcr } from 'mcp-dcr'
import { createAggregate } from './aggregate.js'

export interface GatewayOptions {
  /** Under which URL browsers see the gateway. */
  baseUrl: string
  /** The MCP endpoints' URLs by name. */
  servers: Record<string, string>
  /** Where registrations and tokens are kept. */
  store: string
}

/** A whole gateway: sign-in, a proxy for each MCP server, one endpoint for all of them, and a page to try them on. */
export function createGateway({ baseUrl, servers, store }: GatewayOptions): { app: Express; dcr: McpDcr } {
  const app = express()
  const { handler, onElicitationComplete } = createAggregate(servers)

  // Before the routes that lead to MCP servers. Without a `user` option there is one local user.
  const dcr = mcpDcr({ baseUrl, servers, store, clientName: 'Example gateway', onElicitationComplete })
  app.use(dcr)

  // Any handler will do that relays the MCP server's answers; here, a proxy.
  for (const [name, target] of Object.entries(servers)) {
    app.use(`/mcp/${name}`, proxyTo(target))
  }

  // Or a handler that speaks to the MCP servers itself, with `req.mcp.fetch`.
  app.all('/mcp', express.json(), handler)

  app.use(express.static(join(import.meta.dirname, 'public'), { setHeaders: setPageHeaders }))
  return { app, dcr }
}

function proxyTo(target: string) {
  return createProxyMiddleware({
    target,
    changeOrigin: true,
    // Express leaves "/" of "/mcp/demo", and some MCP servers know no ".../mcp/".
    pathRewrite: { '^/(?=\\?|$)': '' },
    on: {
      // The browser's cookies are the gateway's, not the MCP server's.
      proxyReq: (upstream) => upstream.removeHeader('cookie'),
    },
  })
}

function setPageHeaders(res: { setHeader(name: string, value: string): unknown }): void {
  res.setHeader('content-security-policy', "default-src 'self'; base-uri 'none'; frame-ancestors 'none'")
  res.setHeader('x-content-type-options', 'nosniff')
}
