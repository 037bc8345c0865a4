import type { IncomingMessage } from 'node:http'

/** The body of a request, kept as it comes, while whoever reads it reads it. */
export class PostedBody {
  readonly #chunks: Buffer[] = []
  #missing: number
  #onWhole: (() => void) | undefined
  #settled: Promise<void> | undefined

  /** @param length in bytes */
  constructor(length: number) {
    this.#missing = length
  }

  /** One that has come already. */
  static of(bytes: Buffer): PostedBody {
    const body = new PostedBody(bytes.length)
    body.add(bytes)
    return body
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#missing -= chunk.length
    if (this.#missing <= 0) this.#onWhole?.()
  }

  /** All of it; undefined as long as some of it has not come. */
  whole(): Buffer | undefined {
    if (this.#missing > 0) return undefined
    const [first, ...others] = this.#chunks
    return first !== undefined && others.length === 0 ? first : Buffer.concat(this.#chunks)
  }

  /** Until all of it has come, or no more of it will. */
  async settled(req: IncomingMessage): Promise<void> {
    if (this.#missing <= 0 || req.destroyed) return
    this.#settled ??= new Promise((resolve) => {
      this.#onWhole = resolve
      req.once('close', resolve)
    })
    await this.#settled
  }
}

const hooked = new WeakSet()
/** What their `push` is now. */
const hooks = new WeakSet<IncomingMessage['push']>()

/**
 * Has the bodies of the requests that inherit from a prototype, `express.request` for one, kept as Node's HTTP parser
 * brings them; calling it again changes nothing. To read them ahead of their reader takes a turn of the event loop.
 *
 * @param bodyOf where the body of a request is kept; undefined where it is not
 */
export function hookBodies(
  prototype: object,
  bodyOf: (req: IncomingMessage) => PostedBody | undefined,
): void {
  // Somebody else may have hooked it since.
  if (hooked.has(prototype)) return
  hooked.add(prototype)
  const { push } = prototype as IncomingMessage
  const hook = function (this: IncomingMessage, chunk: unknown, encoding?: BufferEncoding): boolean {
    if (Buffer.isBuffer(chunk)) bodyOf(this)?.add(chunk)
    return push.call(this, chunk, encoding)
  }
  hooks.add(hook)
  Object.defineProperty(prototype, 'push', {
    value: hook,
    writable: true,
    configurable: true,
    enumerable: true,
  })
}

/** Whether the body of a request can be kept: not of another copy of Express, nor where somebody has given it a `push` of its own. */
export function isHookedBody({ push }: IncomingMessage): boolean {
  return hooks.has(push)
}
