import { randomUUID } from 'node:crypto'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'

export const MCP_TOOLS = ['whoami', 'add', 'count'] as const

interface HandlerOptions {
  sessions?: boolean
  answerAs?: 'json' | 'event-stream'
}

/** The MCP endpoint itself, stateless unless `sessions`. */
export function mcpHandler({ sessions = false, answerAs = 'json' }: HandlerOptions): RequestHandler {
  const transports = new Map<string, StreamableHTTPServerTransport>()

  async function connect(transport: StreamableHTTPServerTransport) {
    const server = createTools()
    await server.connect(transport)
    return server
  }

  async function answerStateless(req: Request, res: Response) {
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: answerAs === 'json' })
    const server = await connect(transport)
    res.once('close', () => void server.close())
    await transport.handleRequest(req, res, req.body)
  }

  async function answerInSession(req: Request, res: Response) {
    const sessionId = req.headers['mcp-session-id']
    const known = typeof sessionId === 'string' ? transports.get(sessionId) : undefined
    if (sessionId !== undefined && !known) return void res.status(404).json({ error: 'unknown session' })
    if (known) return known.handleRequest(req, res, req.body)

    const transport = new StreamableHTTPServerTransport({
      enableJsonResponse: answerAs === 'json',
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void transports.set(id, transport),
      onsessionclosed: (id) => void transports.delete(id),
    })
    await connect(transport)
    await transport.handleRequest(req, res, req.body)
  }

  return (req, res, next) => {
    if (!sessions && req.method !== 'POST') return void res.status(405).set('allow', 'POST').end()
    ;(sessions ? answerInSession(req, res) : answerStateless(req, res)).catch(next)
  }
}

function createTools(): McpServer {
  const server = new McpServer({ name: 'test-mcp-server', version: '1.0.0' })
  server.registerTool('whoami', { description: 'Says who you are' }, ({ authInfo }) =>
    text(String(authInfo?.extra?.subject ?? 'nobody')),
  )
  server.registerTool(
    'add',
    { description: 'Adds two numbers', inputSchema: { a: z.number(), b: z.number() } },
    ({ a, b }) => text(String(a + b)),
  )
  server.registerTool(
    'count',
    {
      description: 'Counts up, with a progress notification for each step',
      inputSchema: { to: z.number().int().min(1).max(1000) },
    },
    async ({ to }, { _meta, sendNotification }) => {
      const progressToken = _meta?.progressToken
      for (let progress = 1; progress <= to && progressToken !== undefined; progress++) {
        await sendNotification({
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
