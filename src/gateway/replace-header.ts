import type { IncomingMessage } from 'node:http'

/** Replaces a header of a request that a handler will pass on, in both of its forms; undefined removes it. */
export function replaceHeader(req: IncomingMessage, name: string, value: string | undefined): void {
  const raw: string[] = []
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const header = req.rawHeaders[i] ?? ''
    if (header.toLowerCase() !== name) raw.push(header, req.rawHeaders[i + 1] ?? '')
  }
  delete req.headers[name]
  if (value !== undefined) {
    req.headers[name] = value
    raw.push(name, value)
  }
  req.rawHeaders = raw
}
