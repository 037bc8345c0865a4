import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, RequestHandler, Response } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'

/** The ways in which a gateway's own handler passes on what an upstream answers. */
export const HANDLERS: Record<string, (upstream: string) => RequestHandler> = {
  'http-proxy-middleware': (target) => createProxyMiddleware({ target, changeOrigin: true }),
  'a relayed fetch': (upstream) => handler(upstream, relay),
  'res.status(401).set(…).send()': (upstream) => handler(upstream, answerItself),
}

type PassOn = (answer: globalThis.Response, res: Response) => Promise<unknown>

/** Express 4 knows nothing of a handler's promise. */
const handler =
  (upstream: string, passOn: PassOn): RequestHandler =>
  (req, res, next) => {
    ask(upstream, req)
      .then((answer) => passOn(answer, res))
      .catch(next)
  }

function ask(upstream: string, req: Request): Promise<globalThis.Response> {
  const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
  const { host: _, connection: __, ...headers } = req.headers
  return fetch(upstream + (req.url === '/' ? '' : req.url), {
    method: req.method,
    headers: headers as Record<string, string>,
    ...(hasBody && { body: Readable.toWeb(req) as ReadableStream, duplex: 'half' }),
  })
}

const relay: PassOn = async (answer, res) => {
  const { 'transfer-encoding': _, connection: __, ...headers } = Object.fromEntries(answer.headers)
  res.writeHead(answer.status, headers)
  if (answer.body === null) return res.end()
  return pipeline(Readable.fromWeb(answer.body), res)
}

const answerItself: PassOn = async (answer, res) => {
  if (answer.status === 401) {
    return res
      .status(401)
      .set('WWW-Authenticate', answer.headers.get('www-authenticate') ?? 'Bearer')
      .send()
  }
  const type = answer.headers.get('content-type')
  if (type !== null) res.set('content-type', type)
  return res.status(answer.status).send(await answer.text())
}
