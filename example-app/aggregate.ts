import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import {
  CallToolRequestSchema,
  ListToolsRequestSchema,
  UrlElicitationRequiredError,
  type CallToolResult,
} from '@modelcontextprotocol/sdk/types.js'
import type { RequestHandler } from 'express'
import { AuthorizationRequiredError, type Options } from 'mcp-dcr'
import { callTool, listTools } from './upstreams.js'

export interface Aggregate {
  /** The MCP endpoint; mount it behind `mcpDcr()` and `express.json()`. */
  readonly handler: RequestHandler
  /** For `mcpDcr()`: tells the client that was asked to open a URL that its person is back, and that there are new tools. */
  readonly onElicitationComplete: NonNullable<Options['onElicitationComplete']>
}

interface Session {
  readonly server: Server
  readonly transport: StreamableHTTPServerTransport
}

/** Several MCP servers behind one endpoint. Their tools are named `<server>_<tool>`. */
export function createAggregate(servers: Record<string, string>): Aggregate {
  const sessions = new Map<string, Session>()
  /** That of the request that is being served: it is its user whose tokens are sent, not the session's. */
  const currentFetch = new AsyncLocalStorage<typeof fetch>()

  async function openSession(): Promise<Session> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, { server, transport }),
      onsessionclosed: (id) => void sessions.delete(id),
    })
    const server = new Server(
      { name: 'example-gateway', version: '1.0.0' },
      { capabilities: { tools: { listChanged: true } } },
    )
    const upstreams = () => ({ servers, fetch: currentFetch.getStore() ?? fetch })
    server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: await listTools(upstreams()) }))
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
      try {
        return await callTool(upstreams(), params, signal)
      } catch (error) {
        if (!(error instanceof AuthorizationRequiredError)) throw error
        return askToSignIn(server, error)
      }
    })
    await server.connect(transport)
    return { server, transport }
  }

  return {
    async handler(req, res) {
      const id = req.get('mcp-session-id')
      const session = id === undefined ? await openSession() : sessions.get(id)
      if (session === undefined) return void res.status(404).end()
      await currentFetch.run(req.mcp.fetch, () => session.transport.handleRequest(req, res, req.body))
    },
    async onElicitationComplete({ elicitationId, sessionId = '' }) {
      const server = sessions.get(sessionId)?.server
      if (server?.getClientCapabilities()?.elicitation?.url === undefined) return
      await server.createElicitationCompletionNotifier(elicitationId)()
      await server.sendToolListChanged()
    },
  }
}

/** A client that can open URLs is asked to; any other gets the URL in words. */
function askToSignIn(server: Server, { elicitations, message }: AuthorizationRequiredError): CallToolResult {
  if (server.getClientCapabilities()?.elicitation?.url !== undefined) {
    throw new UrlElicitationRequiredError(elicitations, message)
  }
  return { isError: true, content: [{ type: 'text', text: message }] }
}
