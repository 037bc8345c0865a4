import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
  type ClientOptions as ClientOptionsV2,
} from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Caller, CallerOptions, Conversation } from './caller.js'

const INFO = { name: 'caller', version: '1.0.0' }

/** Of both generations' types. */
type Capabilities = { elicitation?: { form?: Record<string, never>; url?: Record<string, never> } }

const URLS: Capabilities = { elicitation: { url: {} } }

const ELICITATIONS: readonly [name: string, capabilities: Capabilities][] = [
  ['without elicitation', {}],
  ['with forms alone', { elicitation: { form: {} } }],
  ['with URL elicitation', URLS],
]

/** What both generations of the client answer. */
interface SdkClient {
  listTools(): Promise<{ tools: { name: string }[] }>
  callTool(params: { name: string; arguments: Record<string, number> }): Promise<Record<string, unknown>>
  close(): Promise<void>
}

/** Connects when it is first asked something, and anew after it could not. */
export function conversation(connect: () => Promise<SdkClient>): Conversation {
  let client: SdkClient | undefined
  const ask = async (question: (client: SdkClient) => Promise<string>): Promise<string> => {
    try {
      client ??= await connect()
    } catch (error) {
      return `cannot connect: ${describe(error)}`
    }
    return question(client).catch(describe)
  }
  return {
    listTools: () => ask(async (it) => (await it.listTools()).tools.map(({ name }) => name).join(', ')),
    callTool: (name, args = {}) =>
      ask(async (it) => {
        const { content, isError } = await it.callTool({ name, arguments: args })
        const words = (content as { text: string }[]).map(({ text }) => text).join('\n')
        return isError === true ? `isError: ${words}` : words
      }),
    isConnected: () => client !== undefined,
    close: async () => client?.close(),
  }
}

function describe(thrown: unknown): string {
  const error = thrown as Error & { code?: unknown; elicitations?: { url: string }[] }
  const code = error.code === undefined ? '' : ` ${String(error.code)}`
  const urls = error.elicitations?.map(({ url }) => url).join(', ')
  return `${error.constructor.name}${code}: ${error.message}${urls === undefined ? '' : ` (to open: ${urls})`}`
}

function connectV1(capabilities: Capabilities) {
  return async ({ url, headers }: CallerOptions): Promise<SdkClient> => {
    const client = new ClientV1(INFO, { capabilities })
    await client.connect(new TransportV1(new URL(url), { requestInit: { headers } }))
    return client
  }
}

function connectV2(options: ClientOptionsV2) {
  return async ({ url, headers, visit }: CallerOptions): Promise<SdkClient> => {
    const client = new ClientV2(INFO, options)
    if (options.capabilities?.elicitation?.url !== undefined) {
      client.setRequestHandler('elicitation/create', async ({ params }) => {
        await visit(String((params as { url?: string }).url))
        return { action: 'accept' }
      })
    }
    await client.connect(new TransportV2(new URL(url), { requestInit: { headers } }))
    return client
  }
}

/** Of its package.json, which its exports do not let one import. */
function versionOf(name: string): string {
  const modules = join(import.meta.dirname, '../../node_modules')
  return (JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')) as { version: string })
    .version
}

const V1 = `SDK ${versionOf('@modelcontextprotocol/sdk')}`
const V2 = `SDK ${versionOf('@modelcontextprotocol/client')}`

export const sdkCallers: readonly Caller[] = [
  ...ELICITATIONS.map(([name, capabilities]) =>
    sdkCaller(`${V1} ${name}`, capabilities, connectV1(capabilities)),
  ),
  ...ELICITATIONS.map(([name, capabilities]) =>
    sdkCaller(`${V2} ${name}`, capabilities, connectV2({ capabilities })),
  ),
  {
    ...sdkCaller(
      `${V2} with URL elicitation, negotiating 2026-07-28`,
      URLS,
      connectV2({ capabilities: URLS, versionNegotiation: { mode: 'auto' } }),
    ),
    goesOn: true,
  },
]

function sdkCaller(
  name: string,
  { elicitation }: Capabilities,
  connect: (at: CallerOptions) => Promise<SdkClient>,
): Caller {
  return {
    name,
    opensUrls: elicitation?.url !== undefined,
    goesOn: false,
    probesMetadata: false,
    callsListedToolsOnly: false,
    start: async (at) => conversation(() => connect(at)),
  }
}
