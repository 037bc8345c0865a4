import { expect } from 'vitest'

export type Json = Record<string, unknown>

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Json & { error?: Json & { data?: Json }; result?: Json }
}

/** What every client of Streamable HTTP sends. */
export const MCP = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

export const rpc = (method: string, params: Json = {}, id: string | number = 7): Json => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
})
export const initialize = (capabilities: unknown, protocolVersion: unknown = '2025-11-25'): Json =>
  rpc('initialize', { protocolVersion, capabilities, clientInfo: { name: 'test', version: '1' } })
export const CALL = { name: 'add', arguments: { a: 1, b: 2 } }
export const URLS = { elicitation: { url: {} } }

/** What a client of 2026-07-28 sends with each request. */
export const modern = (capabilities: unknown = URLS): Json => ({
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': capabilities,
  },
})

/** A `tools/call` of 2026-07-28. */
export const modernCall = (more: Json = {}, capabilities: unknown = URLS): Json =>
  rpc('tools/call', { ...CALL, ...modern(capabilities), ...more })

/** The same, as it is repeated once it was answered with `input_required`. */
export const modernRetry = (requestState: unknown, action: unknown = 'accept', more: Json = {}): Json =>
  modernCall({ requestState, inputResponses: { 'mcp-dcr': { action } }, ...more })

/** Which a client of 2026-07-28 has to send with each request. */
function versionHeader(body: unknown): Record<string, string> {
  const { params } = (typeof body === 'object' ? body : {}) as { params?: { _meta?: Json } }
  const version = params?._meta?.['io.modelcontextprotocol/protocolVersion']
  return typeof version === 'string' ? { 'mcp-protocol-version': version } : {}
}

/** Posts as an MCP client does whose user the `x-user` header names. */
export async function postMcp(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
  user = 'alice',
): Promise<Answer> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...MCP, ...versionHeader(body), 'x-user': user, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await answer.text()
  return {
    status: answer.status,
    headers: answer.headers,
    body: text === '' ? {} : (JSON.parse(text) as Json),
  }
}

export interface Expectations {
  /** `-32042`. */
  expectElicitation(answer: Answer, id?: unknown): { elicitationId: string }
  /** A tool's result that says it in words. */
  expectToolText(answer: Answer, id?: unknown): void
  expectError(answer: Answer, id?: unknown): void
  /** `input_required`; returns the `requestState`. */
  expectInputRequired(answer: Answer, id?: unknown): string
}

/** The ways in which an MCP client is told to sign in at a connect URL. */
export function expectations(connectUrl: () => string): Expectations {
  return {
    expectElicitation({ status, body }, id = 7) {
      const message = expect.stringContaining(connectUrl()) as string
      expect([status, body]).toMatchObject([200, { jsonrpc: '2.0', id, error: { code: -32042, message } }])
      const [elicitation] = body.error?.data?.['elicitations'] as { elicitationId: string }[]
      expect(elicitation).toEqual({
        mode: 'url',
        elicitationId: expect.stringMatching(/^[\w-]{36}$/) as string,
        url: connectUrl(),
        message: expect.any(String) as string,
      })
      return elicitation as { elicitationId: string }
    },

    expectToolText({ status, body }, id = 7) {
      expect([status, body]).toMatchObject([200, { jsonrpc: '2.0', id, result: { isError: true } }])
      expect(body.result?.['content']).toEqual([
        { type: 'text', text: expect.stringContaining(connectUrl()) as string },
      ])
    },

    expectError({ status, body }, id = 7) {
      expect([status, body]).toMatchObject([200, { jsonrpc: '2.0', id, error: { code: -32010 } }])
      expect(body.error?.['message']).toContain(connectUrl())
      expect(body.error?.data).toMatchObject({
        code: 'authorization_required',
        authorizationUrl: connectUrl(),
      })
    },

    expectInputRequired({ status, body }, id = 7) {
      const params = { mode: 'url', url: connectUrl(), message: expect.any(String) as string }
      expect([status, body]).toEqual([
        200,
        {
          jsonrpc: '2.0',
          id,
          result: {
            resultType: 'input_required',
            inputRequests: { 'mcp-dcr': { method: 'elicitation/create', params } },
            requestState: expect.stringMatching(/^mcp-dcr\./) as string,
          },
        },
      ])
      return body.result?.['requestState'] as string
    },
  }
}
