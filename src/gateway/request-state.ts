import { createHash } from 'node:crypto'
import { isObject, omit } from '../json-object.js'
import type { Sealer } from '../security/seal.js'
import type { McpRequest } from './mcp-message.js'

/** How long a person may take, in milliseconds. */
const LIFETIME = 10 * 60_000
/** How often one request is answered by asking for the same sign-in. */
const MAX_ROUNDS = 20
/** What a client has to bring back may hold an upstream's own state; in characters. */
const MAX_LENGTH = 16_384

const PREFIX = 'mcp-dcr.'

/** What a request that waits for a sign-in brings back with its retry (MCP 2026-07-28, `requestState`). */
export interface RequestState {
  /** The MCP server whose sign-in it waits for. */
  readonly server: string
  readonly round: number
  /** Epoch milliseconds. */
  readonly askedAt: number
  /** What the request had brought for its server, which is restored for the retry that is served. */
  readonly inner: Readonly<Record<string, unknown>>
}

/** Where a state is good for. */
export interface StatePlace {
  readonly place: string
  readonly user: string
  readonly request: McpRequest
}

/** `foreign`: there is none of ours. */
export type OpenedState = RequestState | 'foreign'

/**
 * The `requestState` of requests that wait for a sign-in: sealed, and bound to the user, the place, the
 * request and the time, since the client that echoes it is not to be trusted.
 */
export interface RequestStates {
  /**
   * Undefined where the request has been asked often enough, or is too large to be remembered.
   *
   * @param server whose sign-in the request waits for
   */
  seal(at: StatePlace, server: string, before: RequestState | undefined): Promise<string | undefined>
  /** Undefined where it is forged, too old, another user's or another request's. */
  open(at: StatePlace): Promise<RequestState | undefined>
}

export function createRequestStates(sealer: Sealer, clock: () => number): RequestStates {
  return {
    async seal(at, server, before) {
      const round = (before?.round ?? 0) + 1
      const context = contextOf(at)
      if (round > MAX_ROUNDS || context === undefined) return undefined
      const state: RequestState = {
        server,
        round,
        askedAt: clock(),
        inner: before?.inner ?? pick(at.request.params, RETRY_MEMBERS),
      }
      const sealed = PREFIX + (await sealer.seal(JSON.stringify(state), context))
      return sealed.length > MAX_LENGTH ? undefined : sealed
    },

    async open(at) {
      const context = contextOf(at)
      if (context === undefined) return undefined
      try {
        const sealed = String(at.request.params['requestState']).slice(PREFIX.length)
        const state = JSON.parse(await sealer.open(sealed, context)) as RequestState
        return state.askedAt + LIFETIME > clock() ? state : undefined
      } catch {
        return undefined
      }
    },
  }
}

/** Whether a request brings back a state of ours; otherwise what it brings is its MCP server's. */
export function bringsState({ params: { requestState } }: McpRequest): boolean {
  return typeof requestState === 'string' && requestState.startsWith(PREFIX)
}

/** Whether it is worth while to look, by the bytes of a body: no client escapes the letters that it echoes. */
export function mayBringState(body: Buffer): boolean {
  return body.includes(PREFIX)
}

/** The members of a retry's `params` that its first request does not have. */
const RETRY_MEMBERS = ['inputResponses', 'requestState']

/** The `params` that the MCP server is to see. */
export function restoredParams(
  params: Readonly<Record<string, unknown>>,
  { inner }: RequestState,
): Record<string, unknown> {
  return { ...omit(params, RETRY_MEMBERS), ...inner }
}

/** What a person's client says they did: to accept is to open the URL, not to be done (MCP, elicitation). */
export function isDeclined({ params }: McpRequest, input: string): boolean {
  const { inputResponses } = params
  const response = isObject(inputResponses) ? inputResponses[input] : undefined
  return isObject(response) && (response['action'] === 'decline' || response['action'] === 'cancel')
}

/** Undefined where the request is nested too deeply to be told from another. */
function contextOf({ place, user, request: { method, params } }: StatePlace): string[] | undefined {
  try {
    // `_meta` differs from one try to the next: it names progress tokens.
    const own = canonical(omit(params, [...RETRY_MEMBERS, '_meta']))
    return ['request-state', place, user, createHash('sha256').update(`${method} ${own}`).digest('base64url')]
  } catch {
    return undefined
  }
}

/** JSON whose members are in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (!isObject(value)) return JSON.stringify(value)
  const members = Object.keys(value).sort()
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`
}

function pick(from: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)))
}
