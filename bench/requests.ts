import { Agent, get, request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import { SERVER } from './fixtures.js'

/** As a browser asks for a page in a tab of its own. */
export const NAVIGATION = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }

/** The gateway path of the MCP server. */
export const PATH = `/mcp/${SERVER}`

export interface AskedAll {
  /** How often each status came. */
  readonly statuses: Readonly<Record<number, number>>
  /** Until the last answer, in milliseconds. */
  readonly milliseconds: number
}

/** One request for each of the headers, all at the same time, each over a connection of its own. */
export async function askAll(url: string, headers: readonly OutgoingHttpHeaders[]): Promise<AskedAll> {
  const agent = new Agent({ maxSockets: Infinity })
  const statuses: Record<number, number> = {}
  const startedAt = performance.now()
  await Promise.all(
    headers.map(async (each) => {
      const answer = await ask(url, each, agent)
      answer.resume()
      await once(answer, 'end')
      const { statusCode = 0 } = answer
      statuses[statusCode] = (statuses[statusCode] ?? 0) + 1
    }),
  )
  return { statuses, milliseconds: performance.now() - startedAt }
}

/** Resolves with the head of the answer. */
export async function ask(
  url: string,
  headers: OutgoingHttpHeaders,
  agent?: Agent,
): Promise<IncomingMessage> {
  const [answer] = (await once(get(url, { headers, agent }), 'response')) as [IncomingMessage]
  return answer
}

/** Sends a body of so many bytes, and resolves with the head of the answer. */
export async function upload(
  url: string,
  headers: OutgoingHttpHeaders,
  bytes: number,
): Promise<IncomingMessage> {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  const sent = request(url, { method: 'POST', headers: { ...headers, 'content-length': bytes } })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  for (let left = bytes; left > 0; left -= chunk.length) {
    if (!sent.write(chunk.subarray(0, left))) await once(sent, 'drain')
  }
  sent.end()
  const [answer] = await answered
  return answer
}
