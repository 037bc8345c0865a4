import { createServer, request, type Agent, type IncomingMessage, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import express from 'express'
import type { Answer } from '../../src/gateway/intercept.js'

/** Express 5 and 4; the second has no types of its own. */
export const EXPRESSES = [
  ['Express 5', express],
  ['Express 4', createRequire(import.meta.url)('express4') as typeof express],
] as const

export const CHALLENGE =
  'Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource"'
export const UPSTREAM_TEXT = 'the upstream’s own words'
export const ANSWER_TEXT = 'the answer'
export const ANSWER: Answer = {
  status: 302,
  headers: {
    location: '/sign-in',
    'set-cookie': ['flow=1; Path=/', 'flow=2; Path=/'],
    'content-type': 'text/plain',
  },
  body: ANSWER_TEXT,
}

export interface Listening {
  readonly url: string
  /** Connections so far. */
  readonly connections: () => number
  close(): Promise<void>
}

const open: Listening[] = []

/** A server on a free loopback port, closed by {@link closeAll}. */
export async function listen(listener: RequestListener): Promise<Listening> {
  const server = createServer(listener)
  let connections = 0
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const listening: Listening = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  open.push(listening)
  return listening
}

export async function closeAll(): Promise<void> {
  await Promise.all(open.splice(0).map((server) => server.close()))
}

export interface Asked {
  method?: string
  headers?: Record<string, string>
  body?: string
  agent?: Agent
}

/** A response up to its head; the body is left to the caller. */
export function head(
  url: string,
  { method = 'GET', headers = {}, body, agent }: Asked = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const req = request(url, { method, headers, agent: agent ?? false })
    req.once('response', resolve)
    req.once('error', reject)
    req.end(body)
  })
}

export interface Received {
  status: number
  statusMessage: string
  headers: IncomingMessage['headers']
  rawHeaders: string[]
  trailers: IncomingMessage['trailers']
  body: string
}

/** A whole response; rejects where it breaks off. */
export async function ask(url: string, asked: Asked = {}): Promise<Received> {
  const res = await head(url, asked)
  const chunks: Buffer[] = []
  for await (const chunk of res) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  return {
    status: res.statusCode ?? 0,
    statusMessage: res.statusMessage ?? '',
    headers: res.headers,
    rawHeaders: res.rawHeaders,
    trailers: res.trailers,
    body: (res.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString(),
  }
}

/** A promise and its resolver. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((it) => (resolve = it))
  return { promise, resolve }
}
