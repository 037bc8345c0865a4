import type { ServerResponse } from 'node:http'
import type { Method, Watch } from './intercept-watch.js'

/** What the handler's calls do once its response has been replaced: they settle, and nothing is sent. */
export const DIVERTED: Record<
  Method,
  (res: ServerResponse, watch: Watch, args: readonly unknown[]) => unknown
> = {
  writeHead: (res) => res,
  flushHeaders: () => undefined,
  write(_res, _watch, args) {
    const done = callbackOf(args)
    if (done !== undefined) process.nextTick(done)
    return true
  },
  end(res, watch, args) {
    const done = callbackOf(args)
    if (done !== undefined) {
      if (watch.closed) process.nextTick(done)
      else res.once('finish', done)
    }
    handlerIsDone(watch)
    return res
  },
  // pipeline() destroys the response where the upstream breaks off in the middle of its 401.
  destroy(res, watch) {
    handlerIsDone(watch)
    return res
  },
}

function handlerIsDone(watch: Watch): void {
  watch.handlerDone = true
  watch.onHandlerDone?.()
}

function callbackOf(args: readonly unknown[]): (() => void) | undefined {
  return args.find((arg): arg is () => void => typeof arg === 'function')
}
