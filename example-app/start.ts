import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { createGateway } from './gateway.js'
import { startLocalServers } from './local-servers.js'

// `npm run example`. PORT: where the gateway listens, 3001 by default. MCP_SERVER_URL: a real MCP server,
// instead of the local ones that are started beside the gateway. Arguments: what those are called.
const port = Number(process.env.PORT ?? 3001)
const remote = process.env.MCP_SERVER_URL
const names = process.argv.length > 2 ? process.argv.slice(2) : ['demo']
/** One for each port: two examples can run at once, and a store is for one process. */
const directory = join('.mcp-dcr', `example-${port}`)

const closing: (() => unknown)[] = []

async function start(): Promise<void> {
  const baseUrl = `http://localhost:${port}`
  const server = await listen()
  closing.push(() => closeServer(server))

  const servers = remote ? { remote } : await startDemo()
  const { app, dcr } = createGateway({ baseUrl, servers, store: join(directory, 'store.json') })
  // Before the authorization server, whose answer to a refresh it may wait for.
  closing.splice(1, 0, () => dcr.close())
  server.on('request', app)

  for (const [name, url] of Object.entries(servers)) console.log(`MCP server "${name}": ${url}`)
  console.log(`All of them, for an MCP client: ${baseUrl}/mcp`)
  console.log(`\nOpen ${baseUrl}   (Ctrl+C stops it)\n`)
}

/** Known ports, so that the next start finds the same issuer. */
async function startDemo(): Promise<Record<string, string>> {
  const local = await startLocalServers({
    authorizationServerPort: port + 2,
    // The first one below that, the others above.
    mcpServerPorts: Object.fromEntries(names.map((name, i) => [name, port + (i === 0 ? 1 : i + 2)])),
    dataFile: join(directory, 'authorization-server.json'),
  })
  closing.push(() => local.close())
  console.log(`Authorization server: ${local.issuer}   (any name and any password will do)`)
  return local.servers
}

/** On loopback alone: without a `user` option, whoever reaches the gateway uses the same token. */
async function listen(): Promise<Server> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, 'localhost', resolve)
  })
  return server
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function stop(exitCode: number): Promise<void> {
  process.exitCode = exitCode
  for (const close of closing.splice(0)) await close()
}

function explain(error: unknown): string {
  const { code, message, fix } = error as { code?: string; message?: string; fix?: string }
  if (code === 'EADDRINUSE') {
    return `Port ${port} is in use. Stop what uses it, or take another one: PORT=${port + 10} npm run example`
  }
  if (code === 'ERR_SOCKET_BAD_PORT') return `PORT has to be a port number, not "${process.env.PORT}".`
  return fix === undefined ? String(message ?? error) : `${message}\n${fix}`
}

// Not `once`: write-file-atomic listens too while it writes, and ends a process that has no other listener left.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0))
try {
  await start()
} catch (error) {
  console.error(explain(error))
  await stop(1)
}
