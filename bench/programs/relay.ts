import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { RequestHandler, Response as ExpressResponse } from 'express'

/** The simplest gateway handler: asks the upstream in the request's name, and passes on what comes. */
export function relay(upstream: string): RequestHandler {
  return async (req, res) => {
    await passOn(await askUpstream(upstream, req.headers.authorization), res)
  }
}

export function askUpstream(upstream: string, authorization: string | undefined): Promise<Response> {
  return fetch(`${upstream}/mcp`, { headers: authorization === undefined ? {} : { authorization } })
}

export async function passOn(answer: Response, res: ExpressResponse): Promise<void> {
  res.status(answer.status)
  for (const name of ['content-type', 'www-authenticate']) {
    const value = answer.headers.get(name)
    if (value !== null) res.set(name, value)
  }
  if (answer.body === null) res.end()
  else await pipeline(Readable.fromWeb(answer.body as never), res)
}
