import { ServerResponse } from 'node:http'
import { sendInstead } from './intercept-answer.js'
import { DIVERTED } from './intercept-diverted.js'
import { headerValue, headerValues } from './intercept-headers.js'
import { METHODS, type Method, type Originals, type Watch } from './intercept-watch.js'

/** An answer of the gateway's own. */
export interface Answer {
  status: number
  headers: Record<string, string | string[]>
  body?: string
}

/**
 * Decides, synchronously at `writeHead`, about an error response (4xx, 5xx). Returns undefined to let it pass,
 * or the function that produces the answer that replaces it.
 */
export type Decide = (
  status: number,
  wwwAuthenticate: readonly string[],
) => (() => Promise<Answer>) | undefined

/** Told the status of a response that goes through, and its headers by their names in lower case. */
export type OnPassed = (status: number, header: (name: string) => string | undefined) => void

/**
 * Those of responses whose head is not decided yet, and of those that were replaced. Not a property of the response:
 * to add one to what Express has changed the prototype of takes V8 some microseconds.
 */
const watches = new WeakMap<ServerResponse, Watch>()
const hooked = new WeakMap<object, Originals>()
/** Where responses of a prototype are hooked. */
const layers = new WeakMap<object, ServerResponse>()

/**
 * Hooks the responses that inherit from a prototype, `express.response` for one; calling it again changes
 * nothing. Those that {@link intercept} does not watch pay for one lookup per call.
 *
 * Replacing the methods on each response instead costs seven times as much, and replacing them on
 * `http.ServerResponse.prototype` would touch other servers in the process.
 */
export function hookResponses(prototype: object): void {
  hook(prototype as ServerResponse)
}

/**
 * Watches a response up to its head. An error for which `decide` returns a function is replaced: nothing of it
 * is sent. Every other response goes through unbuffered, and `onPassed` is told of it.
 * A response that is watched, or has begun, keeps its first watch.
 */
export function intercept(res: ServerResponse, decide: Decide, onPassed?: OnPassed): void {
  if (watches.has(res) || res.headersSent) return
  const layer = layerOf(res)
  watches.set(res, {
    res,
    layer,
    originals: hook(layer),
    decide,
    onPassed,
    headers: copyHeaders(res),
    sendDate: res.sendDate,
    diverted: false,
    sending: false,
    handlerDone: false,
    closed: false,
  })
}

/**
 * Where a response is hooked: the prototype just above `http.ServerResponse.prototype`, whichever copy of
 * Express it belongs to. Where middleware mounted before us (compression, express-session) has replaced
 * methods on the response itself, or where it is a plain one, it is the response: our hook has to come first,
 * and an answer has to go through what was there, or a new session's cookie would be lost.
 */
function layerOf(res: ServerResponse): ServerResponse {
  if (hasOwnMethods(res)) return res
  const prototype = Object.getPrototypeOf(res) as object
  const known = layers.get(prototype)
  if (known !== undefined) return known
  const layer = layerAbove(prototype)
  if (layer === undefined) return res
  layers.set(prototype, layer)
  return layer
}

/**
 * Spelled out, and without `flushHeaders` and `destroy`, which nobody replaces alone: V8 has to look up each of them,
 * since each response that Express has changed the prototype of is of a hidden class of its own.
 */
function hasOwnMethods(res: ServerResponse): boolean {
  return Object.hasOwn(res, 'writeHead') || Object.hasOwn(res, 'write') || Object.hasOwn(res, 'end')
}

function layerAbove(prototype: object): ServerResponse | undefined {
  for (let layer = prototype; layer !== ServerResponse.prototype;) {
    const above: unknown = Object.getPrototypeOf(layer)
    if (above === ServerResponse.prototype) return layer as ServerResponse
    if (typeof above !== 'object' || above === null) return undefined
    layer = above
  }
  return undefined
}

/** Answers in the place of whatever a handler has prepared, up to the head of its response; nothing else sends it. */
export function replaceResponse(res: ServerResponse, produce: () => Promise<Answer>): void {
  intercept(res, () => undefined)
  const watch = watches.get(res)
  if (watch !== undefined && !watch.diverted) {
    watch.diverted = true
    void sendInstead(res, watch, produce)
  }
  res.end()
}

function copyHeaders(res: ServerResponse): Watch['headers'] {
  return res.getHeaderNames().map((name) => {
    const value = res.getHeader(name) as number | string | string[]
    // appendHeader() pushes into an array that it finds.
    return [name, Array.isArray(value) ? [...value] : value]
  })
}

function hook(layer: ServerResponse): Originals {
  const known = hooked.get(layer)
  if (known !== undefined) return known
  const { writeHead, write, end, flushHeaders, destroy, setHeader, removeHeader } = layer
  const originals = { writeHead, write, end, flushHeaders, destroy, setHeader, removeHeader }
  hooked.set(layer, originals)
  for (const method of METHODS) {
    const original = originals[method] as (...args: unknown[]) => unknown
    const divert = DIVERTED[method]
    const replacement = function (this: ServerResponse, ...args: unknown[]): unknown {
      const watch = watches.get(this) ?? inheritedWatch(this)
      if (watch?.layer !== layer || watch.sending) return Reflect.apply(original, this, args)
      if (!watch.diverted && (method === 'destroy' || !diverts(watch, method, args))) {
        return Reflect.apply(original, this, args)
      }
      return divert(watch.res, watch, args)
    }
    Object.defineProperty(layer, method, {
      value: replacement,
      writable: true,
      configurable: true,
      enumerable: true,
    })
  }
  return originals
}

/** Where a handler has derived a response of its own: the watch of the one that it inherits from. */
function inheritedWatch(derived: ServerResponse): Watch | undefined {
  for (let it = derived; ;) {
    const above = Object.getPrototypeOf(it) as ServerResponse | null
    // Express' own prototype is no response.
    if (above === null || layers.has(above)) return undefined
    const watch = watches.get(above)
    if (watch !== undefined) return watch
    it = above
  }
}

/** The decision, at the first call that would send the head. */
function diverts(watch: Watch, method: Method, args: readonly unknown[]): boolean {
  const { res } = watch
  const explicit = method === 'writeHead'
  const status = Number(explicit ? args[0] : res.statusCode) | 0
  const given = explicit ? (typeof args[1] === 'string' ? args[2] : args[1]) : undefined
  if (status >= 400 && !res.headersSent && !res.destroyed) {
    const produce = decideSafely(watch.decide, status, headerValues(res, given, 'www-authenticate'))
    if (produce !== undefined) {
      watch.diverted = true
      void sendInstead(res, watch, produce)
      return true
    }
  }
  // It is decided: nothing of it is retained, and none of its further calls is looked at.
  watches.delete(res)
  watch.onPassed?.(status, (name) => headerValue(res, given, name))
  return false
}

/** A decision that fails is an answer that fails: letting a 401 pass would send the client to the wrong server. */
function decideSafely(
  decide: Decide,
  status: number,
  values: readonly string[],
): (() => Promise<Answer>) | undefined {
  try {
    return decide(status, values)
  } catch (error) {
    return () => Promise.reject(new Error('The decision failed.', { cause: error }))
  }
}
