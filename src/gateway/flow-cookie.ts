import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { serialize } from 'cookie'
import { McpDcrError } from '../errors.js'
import type { PendingFlow } from '../model.js'
import { FLOW_LIFETIME } from '../oauth/authorize.js'
import type { Sealer } from '../security/seal.js'
import { replaceHeader } from './replace-header.js'

/**
 * The cookies have few names, for tabs that open at once and know nothing of each other: their requests hold no
 * cookie yet, and names of their own would add up to more headers than Node.js accepts (16 KB), after which the
 * whole gateway answers 431. So one of them may replace another's; whoever sees what is there takes a free name.
 */
const SLOTS = ['1', '2', '3', '4', '5']
/** In bytes. A larger one, of a hundred scopes or a long way back, has to share one name with all such. */
const MAX_IN_SLOT = 1536
const LARGE_SLOT = '0'
/** What they take of a request's headers together, in bytes, where that is seen. */
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
      const held = newestFirst(flowCookiesOf(req, flow.redirectUri, clock()))
      const { returnTo: _, ...withoutReturn } = flow
      const full = await pack(sealer, flow)
      const value = isTooLarge(full) ? await pack(sealer, withoutReturn) : full
      if (isTooLarge(value)) throw tooLarge(flow)
      const name = cookiePrefix(flow.redirectUri) + slotFor(value, flow, held)
      const others = held.filter((cookie) => cookie.name !== name)
      return [setCookie(name, value), ...excess(others, value.length).map(expired)]
    },

    async find(req, state, baseUrl) {
      const id = idOf(state)
      const held = flowCookiesOf(req, baseUrl, clock()).filter((cookie) => cookie.id === id)
      const [flow] = await openAll(sealer, held)
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
      const flows = await openAll(sealer, newestFirst(flowCookiesOf(req, baseUrl, clock())))
      return flows.filter((flow) => flow.expiresAt > clock())
    },

    drop(req, flow) {
      const id = idOf(flow.state)
      return flowCookiesOf(req, flow.redirectUri, clock())
        .filter((cookie) => cookie.id === id)
        .map(({ name }) => expired(name))
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

interface Cookie {
  readonly name: string
  /** When its flow expires, by its own words, in epoch seconds; 0 where that cannot be. */
  readonly expiresAt: number
  /** Of the flow's state. */
  readonly id: string
  readonly sealed: string
}

/** Which name a flow's cookie gets: a free one, or that of the oldest. */
function slotFor(value: string, { state }: PendingFlow, held: readonly Cookie[]): string {
  if (value.length > MAX_IN_SLOT) return LARGE_SLOT
  const taken = held.map(({ name }) => name.slice(-1)).filter((slot) => slot !== LARGE_SLOT)
  const free = SLOTS.filter((slot) => !taken.includes(slot))
  // At random: other tabs may be choosing at the same time.
  return free[parseInt(idOf(state).slice(0, 8), 16) % free.length] ?? taken.at(-1) ?? LARGE_SLOT
}

/** The oldest names to drop, so that the others, and a new one of this size, are small enough. */
function excess(held: readonly Cookie[], newBytes: number): string[] {
  let bytes = newBytes
  return held.filter((cookie) => (bytes += bytesOf(cookie)) > MAX_BYTES).map(({ name }) => name)
}

function bytesOf({ name, id, sealed }: Cookie): number {
  return name.length + id.length + sealed.length
}

function newestFirst(held: readonly Cookie[]): Cookie[] {
  return [...held].sort((a, b) => b.expiresAt - a.expiresAt)
}

const COOKIE = /^\s*((?:__Host-)?mcp-dcr-\d)=([\da-z]{1,8})-([\da-f]{32})\.(\S+)$/

/** Also several of one name: where another page of the host has planted one, it hides nothing of ours. */
function flowCookiesOf(req: IncomingMessage, url: string, now: number): Cookie[] {
  const prefix = cookiePrefix(url)
  return cookiesOf(req)
    .split(';')
    .flatMap((pair) => {
      const [, name = '', expiry = '', id = '', sealed = ''] = COOKIE.exec(pair) ?? []
      if (!name.startsWith(prefix)) return []
      const expiresAt = parseInt(expiry, 36)
      return [{ name, id, sealed, expiresAt: expiresAt * 1000 <= now + FLOW_LIFETIME ? expiresAt : 0 }]
    })
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

/** The value of a flow's cookie: what tells it from others in front, the flow itself sealed. */
async function pack(sealer: Sealer, flow: PendingFlow): Promise<string> {
  const id = idOf(flow.state)
  // Compressed: some MCP servers have a hundred scopes, and a larger cookie would be lost without a word.
  const packed = deflateRawSync(JSON.stringify(flow)).toString('base64url')
  const sealed = await sealer.seal(packed, ['cookie', id])
  return `${Math.floor(flow.expiresAt / 1000).toString(36)}-${id}.${sealed}`
}

function isTooLarge(value: string): boolean {
  return setCookie(`__Host-${NAME}${LARGE_SLOT}`, value).length > MAX_COOKIE
}

function setCookie(name: string, value: string, maxAge = FLOW_LIFETIME / 1000): string {
  const secure = name.startsWith('__Host-')
  return serialize(name, value, { path: '/', httpOnly: true, sameSite: 'lax', secure, maxAge })
}

function expired(name: string): string {
  return setCookie(name, '', 0)
}

/** Without those that were forged, cut or moved: whoever did that learns no more than that they are not known. */
async function openAll(sealer: Sealer, held: readonly Cookie[]): Promise<PendingFlow[]> {
  const flows = await Promise.all(held.map((cookie) => open(sealer, cookie)))
  return flows.filter((flow) => flow !== undefined)
}

async function open(sealer: Sealer, { id, sealed }: Cookie): Promise<PendingFlow | undefined> {
  try {
    const packed = Buffer.from(await sealer.open(sealed, ['cookie', id]), 'base64url')
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
