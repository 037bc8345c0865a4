import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Answer } from './intercept.js'
import type { Watch } from './intercept-watch.js'

/**
 * How long an answer waits for the handler to end the response that it replaces, in milliseconds. Ending
 * ours first would cut the handler's pipe: its pipeline() would fail, and an upstream connection be lost.
 */
const HANDLER_GRACE = 1000

const FAILURE: Answer = {
  status: 500,
  headers: { 'cache-control': 'no-store', 'content-type': 'application/problem+json' },
  body: JSON.stringify({ type: 'about:blank', title: 'Internal error', status: 500, code: 'internal_error' }),
}

/** Headers that describe the body or the demand that is being replaced. */
const NEVER_KEPT = new Set([
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'trailer',
  'www-authenticate',
])

/** What Node notes of removed headers; nothing public takes it back. */
const REMOVED_FLAGS = ['_removedConnection', '_removedContLen', '_removedTE']

/** Methods that would throw, or write into the body, once the head is out; a late handler may still call them. */
const HEAD_METHODS = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'addTrailers',
  'writeContinue',
  'writeProcessing',
  'writeEarlyHints',
]

/** Makes the answer and sends it in the place of the handler's response. Never rejects. */
export async function sendInstead(
  res: ServerResponse,
  watch: Watch,
  produce: () => Promise<Answer>,
): Promise<void> {
  hideHead(res, watch)
  let answer = FAILURE
  try {
    answer = await produce()
  } catch {
    // The cause is for whoever produces: nothing of it may reach the client.
  }
  if (!(await handlerSettled(watch))) destroySourcesOn(res)
  if (watch.closed) return
  try {
    send(res, watch, answer)
  } catch {
    sendFailure(res, watch)
  }
}

function sendFailure(res: ServerResponse, watch: Watch): void {
  try {
    send(res, watch, FAILURE)
  } catch {
    watch.originals.destroy.call(res)
  }
}

/**
 * `headersSent` stays false for the handler until the answer is out: finalhandler destroys the socket where
 * an error comes after the head. Loggers, which ask on 'finish', see the truth.
 */
function hideHead(res: ServerResponse, watch: Watch): void {
  Object.defineProperty(res, 'headersSent', {
    configurable: true,
    get: () =>
      watch.sending && (Reflect.get(Object.getPrototypeOf(res) as object, 'headersSent', res) as boolean),
  })
  const close = (): void => {
    if (watch.closed) return
    watch.closed = true
    delete (res as { headersSent?: boolean }).headersSent
    watch.onHandlerDone?.()
  }
  res.prependOnceListener('finish', close)
  res.prependOnceListener('close', close)
}

/** Whether the handler ended its response in time, or there is nobody left to answer. */
async function handlerSettled(watch: Watch): Promise<boolean> {
  if (watch.handlerDone || watch.closed) return true
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, HANDLER_GRACE)
    watch.onHandlerDone = () => {
      clearTimeout(timer)
      resolve()
    }
  })
  return watch.handlerDone || watch.closed
}

/** An upstream that goes on after the answer is cut off: unpiped, it would hold its connection for good. */
function destroySourcesOn(res: ServerResponse): void {
  res.on('unpipe', (source: Readable) => source.destroy())
}

function send(res: ServerResponse, watch: Watch, { status, headers, body = '' }: Answer): void {
  const { originals } = watch
  const setHeader = (name: string, value: number | string | readonly string[]): void => {
    originals.setHeader.call(res, name, value)
  }
  watch.sending = true
  try {
    restoreHeaders(res, watch)
    for (const [name, value] of Object.entries(headers)) {
      const cookies = name.toLowerCase() === 'set-cookie' ? cookiesOf(watch) : []
      // A copy: what middleware appends at the head is not for the next answer.
      setHeader(name, typeof value === 'string' && cookies.length === 0 ? value : cookies.concat(value))
    }
    if (status !== 204 && status !== 304) setHeader('content-length', Buffer.byteLength(body))
    res.statusCode = status
    originals.writeHead.call(res, status)
    for (const method of HEAD_METHODS) Object.assign(res, { [method]: () => res })
    originals.end.call(res, res.req.method === 'HEAD' || body === '' ? undefined : body, 'utf8')
  } finally {
    watch.sending = false
  }
}

/** Back to what the response was when the watch began, with nothing of the upstream's in it. */
function restoreHeaders(res: ServerResponse, { originals, headers, sendDate }: Watch): void {
  for (const name of res.getHeaderNames()) originals.removeHeader.call(res, name)
  for (const [name, value] of headers) {
    if (!NEVER_KEPT.has(name)) originals.setHeader.call(res, name, value)
  }
  // Where these were removed by name, Node frames no body: with compression it would close the connection.
  for (const flag of REMOVED_FLAGS) if (Object.hasOwn(res, flag)) Object.assign(res, { [flag]: false })
  // Only an empty call takes back trailers that were added.
  res.addTrailers({})
  res.sendDate = sendDate
  res.statusMessage = ''
}

function cookiesOf({ headers }: Watch): string[] {
  return headers.flatMap(([name, value]) => (name === 'set-cookie' ? [value].flat().map(String) : []))
}
