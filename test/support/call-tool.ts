import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

export function bearer(token: string) {
  return { headers: { authorization: `Bearer ${token}` } }
}

/** Calls one tool with the official SDK's client, and says what it answered and which progress it reported. */
export async function callTool(
  url: string,
  requestInit: RequestInit,
  name: string,
  args: Record<string, unknown> = {},
) {
  const mcp = new Client({ name: 'test', version: '1' })
  await mcp.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }))
  try {
    const progress: number[] = []
    const result = await mcp.callTool({ name, arguments: args }, undefined, {
      onprogress: (it) => progress.push(it.progress),
    })
    return { text: (result.content as { text: string }[])[0]?.text, progress }
  } finally {
    await mcp.close()
  }
}
