import type { IncomingMessage } from 'node:http'
import { replaceHeader } from './replace-header.js'

/**
 * Reads a request's whole body and puts it back, so that whoever reads it next finds it as it came.
 *
 * @param limit in bytes; of a longer body nothing is known, and it is put back as far as it was read
 * @returns the body; undefined where it is empty, longer than the limit, cut off, or is being read by somebody else
 */
export async function readAhead(req: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  if (!isUntouched(req)) return undefined
  const announced = Number(req.headers['content-length'] ?? 0)
  if (announced > limit) return undefined
  const body = bodyAtHand(req, announced) ?? (await waitForBody(req, limit))
  await settled()
  return body
}

/** Whoever has attached a listener for data, or has read to the end, must not be disturbed. */
function isUntouched(req: IncomingMessage): boolean {
  return req.readableFlowing === null && !req.readableEnded && !req.destroyed
}

/** All of it, where it is here by now, as that of most requests is one turn after their head. */
function bodyAtHand(req: IncomingMessage, announced: number): Buffer | undefined {
  // With an encoding it is counted in characters.
  if (announced === 0 || req.readableLength !== announced || req.readableEncoding !== null) return undefined
  const body = req.read() as Buffer
  req.unshift(body)
  return body
}

function waitForBody(req: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: (Buffer | string)[] = []
    let size = 0
    const finish = (isWhole: boolean): void => {
      req.off('readable', read)
      req.off('close', abort)
      const body = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk as string, encodingOf(req))))
      // In the same turn in which it was read to its end, or the stream would have ended by the next.
      if (size > 0) putBack(req, body)
      resolve(isWhole && size > 0 ? body : undefined)
    }
    const abort = (): void => finish(false)
    const read = (): void => {
      for (let chunk = readFrom(req); chunk !== null; chunk = readFrom(req)) {
        chunks.push(chunk)
        size += chunk.length
        if (size > limit) return finish(false)
      }
      if (req.complete) finish(true)
    }
    req.on('readable', read)
    req.once('close', abort)
  })
}

function readFrom(req: IncomingMessage): Buffer | string | null {
  return req.read() as Buffer | string | null
}

function encodingOf(req: IncomingMessage): BufferEncoding | undefined {
  return req.readableEncoding ?? undefined
}

/** As the stream's reader expects it: with an encoding (`setEncoding`), as text. */
function putBack(req: IncomingMessage, body: Buffer): void {
  const encoding = encodingOf(req)
  if (encoding === undefined) req.unshift(body)
  else req.unshift(body.toString(encoding), encoding)
}

/** Puts another body in the place of one that {@link readAhead} has put back. */
export async function replaceBody(req: IncomingMessage, body: Buffer): Promise<void> {
  req.read()
  putBack(req, body)
  if (req.headers['content-length'] !== undefined) {
    replaceHeader(req, 'content-length', String(body.length))
  }
  await settled()
}

/**
 * A stream looks for a reader in the tick after something was put back. One that comes earlier would be given the body
 * before a proxy's own request has its socket: then it is too late for the proxy's handlers to change that one's head.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}
