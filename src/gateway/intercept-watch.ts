import type { ServerResponse } from 'node:http'
import type { Decide, OnPassed } from './intercept.js'

export const METHODS = ['writeHead', 'write', 'end', 'flushHeaders', 'destroy'] as const
export type Method = (typeof METHODS)[number]

/** The methods as they were where the hook sits; an answer goes out through them. */
export type Originals = Pick<ServerResponse, Method | 'setHeader' | 'removeHeader'>

/** One response under watch. */
export interface Watch {
  readonly res: ServerResponse
  /** The object whose methods serve this response: the prototype, or the response itself. */
  readonly layer: object
  readonly originals: Originals
  readonly decide: Decide
  readonly onPassed: OnPassed | undefined
  /** What the response had when the watch began. */
  readonly headers: readonly (readonly [name: string, value: number | string | readonly string[]])[]
  readonly sendDate: boolean
  diverted: boolean
  /** The answer is being written, synchronously: the methods are the originals. */
  sending: boolean
  /** The handler has ended, or destroyed, its own response. */
  handlerDone: boolean
  onHandlerDone?: () => void
  /** The answer is out, or the client is gone. */
  closed: boolean
}
