import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Listening {
  readonly url: string
  readonly server: Server
  close(): void
}

/** Listens on loopback; a thousand clients may knock at once. */
export async function listen(listener: RequestListener): Promise<Listening> {
  const server = createServer(listener)
  // A gateway rests while the other one is measured: no connection of its is to end just when it goes on.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
