import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { onTestFinished } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { Resolve } from '../../src/security/guarded-dispatcher.js'

export interface Listening {
  readonly port: number
  /** How many connections were opened to it. */
  readonly connections: () => number
}

export type HttpListening = Listening & { readonly requests: IncomingMessage[] }

/** An HTTP server of this test alone. */
export async function serve(listener: RequestListener, host = '127.0.0.1', port = 0): Promise<HttpListening> {
  const requests: IncomingMessage[] = []
  const server = createHttpServer((req, res) => {
    requests.push(req)
    listener(req, res)
  })
  return { ...(await listening(server, host, port)), requests }
}

/** A TCP server of this test alone, for answers that node:http would not send. */
export function serveRaw(connected: (socket: Socket) => void): Promise<Listening> {
  return listening(createTcpServer(connected), '127.0.0.1', 0)
}

async function listening(server: Server, host: string, wanted: number): Promise<Listening> {
  const sockets = new Set<Socket>()
  let connections = 0
  server.on('connection', (socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(wanted, host, resolve))
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  )
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

/** Containers may be without IPv6. */
export const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
)

/** A port on which nobody listens. */
export async function unusedPort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A resolver that gives these answers in turn, the last one for ever. */
export function answering(...answers: (readonly string[])[]): Resolve & { readonly names: string[] } {
  const names: string[] = []
  const resolve: Resolve = (hostname, _options, callback) => {
    const answer = answers[Math.min(names.length, answers.length - 1)] ?? []
    names.push(hostname)
    callback(
      null,
      answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )
  }
  return Object.assign(resolve, { names })
}

/** The McpDcrError with which this rejects, and nothing else. */
export async function failure(promise: Promise<unknown>): Promise<McpDcrError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof McpDcrError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
