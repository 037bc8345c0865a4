import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request as it arrived. */
export interface ReceivedRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** With the query. */
  readonly url: string
  readonly headers: IncomingMessage['headers']
  /** The Authorization header, verbatim. */
  readonly authorization: string | undefined
  /** What has arrived of the body; nothing where bodies are not kept. */
  readonly body: string
  /** The body as a form. */
  readonly form: URLSearchParams
  /** Resolves when the whole body has arrived, or the connection is gone. */
  readonly received: Promise<void>
  /** The status it was answered with; undefined while it is not answered. */
  readonly status: number | undefined
}

/**
 * Injects faults: answers the request itself and returns true, or returns false and leaves it alone.
 * `request.body` is whole for bodies of a known length up to 16 KiB.
 */
export type Intercept = (
  req: IncomingMessage,
  res: ServerResponse,
  request: ReceivedRequest,
) => boolean | Promise<boolean>

export interface TestServer {
  /** `http://localhost:<port>`. */
  readonly url: string
  readonly port: number
  /** Every request since the start, in order. Empty it with `requests.length = 0`. */
  readonly requests: ReceivedRequest[]
  /** How many requests came for this method and path (a regular expression, or the exact path). */
  count(method: string, path: string | RegExp): number
  /** May be set and unset at any time. */
  intercept: Intercept | undefined
  /** Stops listening and ends every connection, idle or not. */
  close(): Promise<void>
}

/** May be asynchronous: a rejection is answered with a 500. */
type Listener = (req: IncomingMessage, res: ServerResponse) => unknown

const WAIT_FOR_BODY_MAX_BYTES = 16_384

/**
 * Listens on `localhost` before there is anything to answer with, so that what answers can be built
 * knowing its own URL: give it to `serve`.
 *
 * @param port Defaults to a free one.
 * @param keepsBodies whether requests are recorded with their bodies, by a `push` of their own. Defaults to true
 */
export async function listen(
  port = 0,
  keepsBodies = true,
): Promise<TestServer & { serve(listener: Listener): void }> {
  let listener: Listener = (_req, res) => res.writeHead(503).end()
  const requests: ReceivedRequest[] = []

  const server = createServer((req, res) => {
    const request = record(req, res, keepsBodies)
    requests.push(request)
    void handle(req, res, request)
  })

  async function handle(req: IncomingMessage, res: ServerResponse, request: ReceivedRequest) {
    try {
      if (testServer.intercept) {
        if (Number(req.headers['content-length'] ?? Infinity) <= WAIT_FOR_BODY_MAX_BYTES)
          await request.received
        if (await testServer.intercept(req, res, request)) return
      }
      await listener(req, res)
    } catch (error) {
      if (!res.headersSent) res.writeHead(500, { 'content-type': 'text/plain' })
      res.end(String(error))
    }
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, 'localhost', resolve)
  })
  const actualPort = (server.address() as AddressInfo).port

  const testServer = {
    url: `http://localhost:${actualPort}`,
    port: actualPort,
    requests,
    intercept: undefined as Intercept | undefined,
    count: (method: string, path: string | RegExp) =>
      requests.filter(
        (it) => it.method === method && (typeof path === 'string' ? it.path === path : path.test(it.path)),
      ).length,
    serve(it: Listener) {
      listener = it
    },
    close: () => close(server),
  }
  return testServer
}

// The parser hands body chunks to `push`: listening there sees them without making the stream flow,
// so that whoever answers can still read it.
function record(req: IncomingMessage, res: ServerResponse, keepsBody: boolean): ReceivedRequest {
  const chunks: Buffer[] = []
  const url = req.url ?? '/'
  let settle = () => {}
  const received = new Promise<void>((resolve) => (settle = resolve))
  if (keepsBody) {
    const push = req.push.bind(req)
    req.push = (chunk: Buffer | null, encoding) => {
      if (chunk === null) settle()
      else chunks.push(Buffer.from(chunk))
      return push(chunk, encoding)
    }
    req.once('close', settle)
  } else settle()
  const body = () => Buffer.concat(chunks).toString()
  return {
    method: req.method ?? 'GET',
    path: url.split('?', 1)[0] ?? url,
    url,
    headers: req.headers,
    authorization: req.headers.authorization,
    received,
    get body() {
      return body()
    },
    get form() {
      return new URLSearchParams(body())
    },
    get status() {
      return res.headersSent ? res.statusCode : undefined
    },
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
