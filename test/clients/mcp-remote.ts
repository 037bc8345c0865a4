import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import type { ClientCapabilities } from '@modelcontextprotocol/sdk/types.js'
import type { Caller, CallerOptions } from './caller.js'
import { environmentIn, fileOf, versionOf } from './programs.js'
import { conversation } from './sdk-callers.js'

/** The proxy by which clients that know stdio alone reach remote servers; here, one on the SDK. */
function mcpRemote(name: string, capabilities: ClientCapabilities): Caller {
  return {
    name: `mcp-remote ${versionOf('mcp-remote')} ${name}`,
    opensUrls: capabilities.elicitation?.url !== undefined,
    goesOn: false,
    probesMetadata: true,
    callsListedToolsOnly: false,
    start: async (at) => conversation(() => connect(at, capabilities)),
  }
}

async function connect({ url, headers, home }: CallerOptions, capabilities: ClientCapabilities) {
  const client = new Client({ name: 'caller', version: '1.0.0' }, { capabilities })
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [
      fileOf('mcp-remote/dist/proxy.js'),
      url,
      // By itself it tries SSE too where an error's text has "404" or "405" in it, as a URL's port may.
      '--transport',
      'http-only',
      ...Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}:${value}`]),
    ],
    env: environmentIn(home),
    stderr: 'pipe',
  })
  const printed = text(transport.stderr as Readable)
  try {
    await client.connect(transport)
  } catch (cause) {
    // Its own client sees no more than that it has ended; this goes to that client's log.
    throw new Error(/Fatal error: .*/.exec(await printed)?.[0] ?? String(cause), { cause })
  }
  return client
}

export const mcpRemotes: readonly Caller[] = [
  mcpRemote('without elicitation', {}),
  mcpRemote('with URL elicitation', { elicitation: { url: {} } }),
]
