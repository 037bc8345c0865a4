import { McpDcrError } from '../errors.js'
import type { Server } from '../model.js'

/** How many discoveries of one server run at the same time: each makes up to a dozen requests. */
const AT_ONCE = 4
/** How many more wait for their turn. */
const WAITING = 20

interface Queue {
  running: number
  readonly waiting: (() => void)[]
}

/**
 * Runs work, or has it wait for its turn.
 *
 * @param server undefined for an undeclared upstream
 * @throws McpDcrError `request_failed` at once, not by the promise, where too many wait already
 */
export type DiscoveryQueue = <T>(server: Server | undefined, work: () => Promise<T>) => Promise<T>

/**
 * The path of a request may be part of the metadata URL that a challenge names: without a bound, whoever asks for
 * many paths has the gateway make as many discoveries at the same time.
 */
export function createDiscoveryQueue(): DiscoveryQueue {
  const queues = new Map<string, Queue>()

  async function inTurn<T>(key: string, queue: Queue, work: () => Promise<T>): Promise<T> {
    if (queue.running < AT_ONCE) queue.running++
    else await new Promise<void>((resolve) => queue.waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = queue.waiting.shift()
      // The next one takes the place over.
      if (next !== undefined) next()
      else if (--queue.running === 0) queues.delete(key)
    }
  }

  return (server, work) => {
    const key = keyOf(server)
    const queue = queues.get(key) ?? { running: 0, waiting: [] }
    if (queue.waiting.length >= WAITING) throw tooMany(server)
    queues.set(key, queue)
    return inTurn(key, queue, work)
  }
}

/** Undeclared upstreams have one queue together: what they are called, and where, is their own to say. */
function keyOf(server: Server | undefined): string {
  return server?.declared === true ? JSON.stringify([server.name, server.url]) : ''
}

function tooMany(server: Server | undefined): McpDcrError {
  return new McpDcrError('request_failed', 'Too many discoveries of this MCP server are under way.', {
    ...(server !== undefined && { server: server.name }),
    fix: 'Try again in a moment.',
  })
}
