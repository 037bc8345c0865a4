import type { Caller } from './caller.js'
import { fileOf, newerNode, run, versionOf } from './programs.js'

const PACKAGE = '@modelcontextprotocol/inspector'

/** The MCP Inspector's command line: one process for each question. */
export const inspector: Caller = {
  name: `MCP Inspector ${versionOf(PACKAGE)}, command line`,
  opensUrls: false,
  goesOn: false,
  probesMetadata: false,
  callsListedToolsOnly: true,
  async start({ url, headers, home }) {
    const ask = async (...method: string[]): Promise<string> => {
      const { status, stdout, stderr } = await run(
        newerNode(),
        [
          fileOf(`${PACKAGE}/clients/launcher/build/index.js`),
          '--cli',
          url,
          '--transport',
          'http',
          ...Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
          ...method,
        ],
        home,
      )
      return status === 0 ? answerOf(stdout) + stderr : `exit ${status}: ${stdout}${stderr}`
    }
    return {
      listTools: () => ask('--method', 'tools/list'),
      callTool: (name, args = {}) =>
        ask(
          '--method',
          'tools/call',
          '--tool-name',
          name,
          ...Object.entries(args).flatMap(([key, value]) => ['--tool-arg', `${key}=${value}`]),
        ),
      isConnected: () => false,
      close: async () => undefined,
    }
  },
}

function answerOf(stdout: string): string {
  try {
    const { tools, content, isError } = JSON.parse(stdout) as {
      tools?: { name: string }[]
      content?: { text: string }[]
      isError?: boolean
    }
    const words = (tools?.map(({ name }) => name) ?? content?.map(({ text }) => text))?.join(', ')
    return words === undefined ? stdout : `${isError ? 'isError: ' : ''}${words}`
  } catch {
    return stdout
  }
}
