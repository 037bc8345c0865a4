import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { parse, serialize } from 'cookie'
import { McpDcrError } from '../errors.js'
import type { PendingFlow } from '../model.js'
import { FLOW_LIFETIME } from '../oauth/authorize.js'
import type { Sealer } from '../security/seal.js'
import { replaceHeader } from './replace-header.js'

/** Unfinished sign-ins per browser. */
const MAX_FLOWS = 5
/** What they take of a request's headers together, in bytes: Node.js accepts 16 KB. */
const MAX_BYTES = 8192
/** What browsers store of one cookie, in bytes (RFC 6265 §6.1). */
const MAX_COOKIE = 4096

/** Pending flows in the browser's own cookies: bound to it by construction, nothing to sweep (SPEC 26, 29). */
export interface FlowCookies {
  /**
   * The `Set-Cookie` values that keep this flow, and drop the oldest where there are too many.
   *
   * @throws McpDcrError `authorization_failed` where it asks for more scopes than a cookie can hold
   */
  keep(req: IncomingMessage, flow: PendingFlow): Promise<string[]>
  /**
   * The flow that this browser began under this state at this base URL.
   *
   * @throws McpDcrError `flow_not_found`, `flow_expired`
   */
  find(req: IncomingMessage, state: string, baseUrl: string): Promise<PendingFlow>
  /** The flows that this browser began at this base URL and that may still come back, the newest first. */
  all(req: IncomingMessage, baseUrl: string): Promise<PendingFlow[]>
  /** The `Set-Cookie` values that drop a finished flow. */
  drop(req: IncomingMessage, flow: PendingFlow): string[]
}

export function createFlowCookies(sealer: Sealer, clock: () => number): FlowCookies {
  return {
    async keep(req, flow) {
      const prefix = cookiePrefix(flow.redirectUri)
      const name = prefix + Math.floor(flow.expiresAt / 1000).toString(36) + '-' + idOf(flow.state)
      const full = await cookie(sealer, name, flow)
      const { returnTo: _, ...withoutReturn } = flow
      const value = full.length <= MAX_COOKIE ? full : await cookie(sealer, name, withoutReturn)
      if (value.length > MAX_COOKIE) throw tooLarge(flow)
      return [value, ...excess(flowCookiesOf(req, prefix), value.length).map(expired)]
    },

    async find(req, state, baseUrl) {
      const flow = await open(sealer, idOf(state), cookieOf(req, baseUrl, state)?.[1] ?? '')
      if (flow === undefined) throw notFound()
      if (flow.expiresAt <= clock()) {
        throw new McpDcrError('flow_expired', 'This sign-in took longer than ten minutes.', {
          server: flow.server,
          fix: 'Start again.',
        })
      }
      return flow
    },

    async all(req, baseUrl) {
      const held = newestFirst(flowCookiesOf(req, cookiePrefix(baseUrl)))
      const flows = await Promise.all(
        held.map(([name, value]) => open(sealer, name.slice(name.lastIndexOf('-') + 1), value)),
      )
      return flows.filter((flow) => flow !== undefined && flow.expiresAt > clock()) as PendingFlow[]
    },

    drop(req, flow) {
      const held = cookieOf(req, flow.redirectUri, flow.state)
      return held === undefined ? [] : [expired(held[0])]
    },
  }
}

const NAME = 'mcp-dcr-'

/** `__Host-` keeps other hosts of the domain from planting one (RFC 6265bis §4.1.3.2); it needs https. */
function cookiePrefix(url: string): string {
  return url.startsWith('https:') ? `__Host-${NAME}` : NAME
}

function idOf(state: string): string {
  return createHash('sha256').update(state).digest('hex').slice(0, 32)
}

type Cookie = readonly [name: string, value: string]

/** The oldest names to drop, so that the others, and a new one of this size, are few and small enough. */
function excess(held: readonly Cookie[], newBytes: number): string[] {
  let bytes = newBytes
  return newestFirst(held)
    .filter(([name, value], index) => {
      bytes += name.length + value.length
      return index >= MAX_FLOWS - 1 || bytes > MAX_BYTES
    })
    .map(([name]) => name)
}

/** The name begins with the time of expiry. */
function newestFirst(held: readonly Cookie[]): Cookie[] {
  return [...held].sort(([a], [b]) => (a < b ? 1 : -1))
}

function flowCookiesOf(req: IncomingMessage, prefix: string): Cookie[] {
  return Object.entries(parse(cookiesOf(req))).flatMap(([name, value]) =>
    name.startsWith(prefix) ? [[name, value ?? ''] as const] : [],
  )
}

function cookieOf(req: IncomingMessage, url: string, state: string): Cookie | undefined {
  return flowCookiesOf(req, cookiePrefix(url)).find(([name]) => name.endsWith(`-${idOf(state)}`))
}

/** The `Cookie` header as it came, of requests from which our own were taken. */
const original = new WeakMap<IncomingMessage, string>()

function cookiesOf(req: IncomingMessage): string {
  return original.get(req) ?? req.headers.cookie ?? ''
}

/** Takes our cookies out of a request that goes on to an MCP server, which has no business with them. */
export function hideFlowCookies(req: IncomingMessage): void {
  const { cookie } = req.headers
  if (cookie === undefined || !cookie.includes(NAME)) return
  original.set(req, cookie)
  const isOurs = (pair: string): boolean => /^\s*(?:__Host-)?mcp-dcr-/.test(pair)
  const kept = cookie
    .split(';')
    .filter((pair) => !isOurs(pair))
    .join(';')
    .trim()
  replaceHeader(req, 'cookie', kept === '' ? undefined : kept)
}

async function cookie(sealer: Sealer, name: string, flow: PendingFlow): Promise<string> {
  // Compressed: some MCP servers have a hundred scopes, and a larger cookie would be lost without a word.
  const packed = deflateRawSync(JSON.stringify(flow)).toString('base64url')
  const value = await sealer.seal(packed, ['cookie', idOf(flow.state)])
  return serialize(name, value, { ...attributes(name), maxAge: FLOW_LIFETIME / 1000 })
}

function expired(name: string): string {
  return serialize(name, '', { ...attributes(name), maxAge: 0 })
}

function attributes(name: string): { path: string; httpOnly: boolean; sameSite: 'lax'; secure: boolean } {
  return { path: '/', httpOnly: true, sameSite: 'lax', secure: name.startsWith('__Host-') }
}

/** Undefined where it was forged, cut or moved: whoever did that learns no more than that it is not known. */
async function open(sealer: Sealer, id: string, value: string): Promise<PendingFlow | undefined> {
  try {
    const packed = Buffer.from(await sealer.open(value, ['cookie', id]), 'base64url')
    const flow = JSON.parse(inflateRawSync(packed).toString()) as PendingFlow
    return idOf(flow.state) === id ? flow : undefined
  } catch {
    return undefined
  }
}

function tooLarge({ server, scope = '' }: PendingFlow): McpDcrError {
  return new McpDcrError(
    'authorization_failed',
    `The sign-in to "${server}" asks for so many scopes (${scope.length} characters) that no cookie can hold it.`,
    {
      server,
      fix: 'Tell its operator: a challenge, or the metadata, should name the scopes that are needed and no more.',
    },
  )
}

function notFound(): McpDcrError {
  return new McpDcrError('flow_not_found', 'This browser has no such sign-in under way.', {
    fix: 'Start again from the page you came from, in the browser in which you want to be signed in. A sign-in can be finished once, within ten minutes.',
  })
}
