import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { CallToolRequest, CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js'
import { AuthorizationRequiredError } from 'mcp-dcr'

/** The MCP servers' URLs by name, and what they are called with. */
export interface Upstreams {
  readonly servers: Record<string, string>
  readonly fetch: typeof fetch
}

/** The tool that stands for those of a server that nobody has signed in to. */
const CONNECT = 'connect'

/** The tools of all servers. One that cannot be asked does not keep those of the others back. */
export async function listTools(upstreams: Upstreams): Promise<Tool[]> {
  const names = Object.keys(upstreams.servers)
  const lists = await Promise.all(names.map((name) => listToolsOf(upstreams, name)))
  return lists.flat()
}

async function listToolsOf(upstreams: Upstreams, server: string): Promise<Tool[]> {
  try {
    const { tools } = await ask(upstreams, server, (client) => client.listTools())
    return tools.map((tool) => ({ ...tool, name: `${server}_${tool.name}` }))
  } catch (error) {
    if (error instanceof AuthorizationRequiredError) return [connectTool(server)]
    console.warn(`The tools of ${server} cannot be listed:`, error)
    return []
  }
}

function connectTool(server: string): Tool {
  return {
    name: `${server}_${CONNECT}`,
    description: `Says where to sign in to ${server}, whose tools can be listed afterwards.`,
    inputSchema: { type: 'object' },
  }
}

/** @throws AuthorizationRequiredError where its user has to sign in first */
export async function callTool(
  upstreams: Upstreams,
  { name, arguments: args }: CallToolRequest['params'],
  signal: AbortSignal,
): Promise<CallToolResult> {
  // The longest: of "a" and "a_b", "a_b_c" is a tool of the second.
  const [server] = Object.keys(upstreams.servers)
    .filter((it) => name.startsWith(`${it}_`))
    .sort((a, b) => b.length - a.length)
  if (server === undefined) return text(`There is no tool ${name}.`, true)
  const tool = name.slice(server.length + 1)
  return ask(upstreams, server, async (client) => {
    if (tool === CONNECT) return text(`You are signed in to ${server}: list the tools again.`)
    return (await client.callTool({ name: tool, arguments: args }, undefined, { signal })) as CallToolResult
  })
}

/** A session with a server for one question. */
async function ask<T>(
  { servers, fetch }: Upstreams,
  server: string,
  question: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ name: 'example-gateway', version: '1.0.0' })
  const transport = new StreamableHTTPClientTransport(new URL(servers[server] ?? ''), { fetch })
  await client.connect(transport)
  try {
    return await question(client)
  } finally {
    await transport.terminateSession().catch(() => undefined)
    await client.close()
  }
}

function text(words: string, isError = false): CallToolResult {
  return { content: [{ type: 'text', text: words }], ...(isError && { isError }) }
}
