import { Client as ClientV2, type ClientOptions } from '@modelcontextprotocol/client'
import { StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js'

export interface ConnectOptions {
  fetch?: typeof fetch
  headers?: Record<string, string>
  /** The client's own OAuth. */
  authProvider?: OAuthClientProvider
}

/** What both generations of the official SDK's client have in common. */
export interface SdkClient {
  readonly protocolVersion: string | undefined
  readonly sessionId: string | undefined
  listTools(): Promise<string[]>
  /** The result's text, and the progress that was reported before it. */
  callTool(name: string, args?: Record<string, unknown>): Promise<{ text: string; progress: number[] }>
  /** Ends the session, where there is one, and the client. */
  close(): Promise<void>
}

type Connect = (url: string, options: ConnectOptions) => Promise<SdkClient>

export interface Sdk {
  readonly name: string
  readonly connect: Connect
  /** Whether it asks the server for its newest version first, and wraps what `fetch` throws meanwhile. */
  readonly negotiates: boolean
}

const INFO = { name: 'interop', version: '1.0.0' }

const connectV1: Connect = async (url, { headers, ...options }) => {
  const transport = new TransportV1(new URL(url), { ...options, requestInit: { headers: headers ?? {} } })
  const client = new ClientV1(INFO)
  await client.connect(transport)
  return adapt(client, transport, (params, onprogress) => client.callTool(params, undefined, { onprogress }))
}

const connectV2 =
  (clientOptions?: ClientOptions): Connect =>
  async (url, { headers, ...options }) => {
    const transport = new TransportV2(new URL(url), { ...options, requestInit: { headers: headers ?? {} } })
    const client = new ClientV2(INFO, clientOptions)
    await client.connect(transport)
    return adapt(client, transport, (params, onprogress) => client.callTool(params, { onprogress }))
  }

type CallTool = (
  params: { name: string; arguments: Record<string, unknown> },
  onprogress: (it: { progress: number }) => void,
) => Promise<Record<string, unknown>>

function adapt(client: ClientV1 | ClientV2, transport: TransportV1 | TransportV2, call: CallTool): SdkClient {
  return {
    protocolVersion: transport.protocolVersion,
    sessionId: transport.sessionId,
    listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
    async callTool(name, args = {}) {
      const progress: number[] = []
      const { content } = await call({ name, arguments: args }, (it) => progress.push(it.progress))
      return { text: textOf(content), progress }
    },
    async close() {
      await transport.terminateSession()
      await client.close()
    },
  }
}

function textOf(content: unknown): string {
  return (content as { text: string }[]).map(({ text }) => text).join('\n')
}

export const SDKS: readonly Sdk[] = [
  { name: 'SDK 1.32', connect: connectV1, negotiates: false },
  { name: 'SDK 2.4', connect: connectV2(), negotiates: false },
  {
    name: 'SDK 2.4, negotiating',
    connect: connectV2({ versionNegotiation: { mode: 'auto' } }),
    negotiates: true,
  },
]
