import type { IncomingMessage } from 'node:http'

/** Replaces a header of a request that a handler will pass on, in both of its forms; undefined removes it. */
export function replaceHeader(req: IncomingMessage, name: string, value: string | undefined): void {
  const { headers, rawHeaders } = req
  // Deleting makes an object slow for all who read it later.
  if (value !== undefined) headers[name] = value
  else if (name in headers) delete headers[name]
  const raw: string[] = []
  let isPlaced = value === undefined
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const header = rawHeaders[i] ?? ''
    const isIt = header.length === name.length && header.toLowerCase() === name
    if (!isIt) raw.push(header, rawHeaders[i + 1] ?? '')
    else if (!isPlaced) {
      raw.push(header, value ?? '')
      isPlaced = true
    }
  }
  if (!isPlaced) raw.push(name, value ?? '')
  req.rawHeaders = raw
}
