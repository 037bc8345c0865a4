import type { IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { createFlowCookies } from '../../src/gateway/flow-cookie.js'
import { parseMcpMessage, readMcpMessage } from '../../src/gateway/mcp-message.js'
import {
  bringsState,
  createRequestStates,
  isDeclined,
  restoredParams,
} from '../../src/gateway/request-state.js'
import type { PendingFlow } from '../../src/model.js'
import { loadKeys } from '../../src/security/keys.js'
import { createSealer } from '../../src/security/seal.js'
import { flowAt, declare, BASE_URL } from '../oauth/support.js'
import { errorOf } from '../store/support.js'
import { hostileJson, isPolluted, MANY } from '../support/hostile-json.js'

// What a client sends to be opened or read: all but what this gateway has made itself is refused.

const NOW = Date.UTC(2030, 0, 1)
const sealer = createSealer(loadKeys({ keys: ['k'.repeat(32)], keyFile: '', local: false }))

afterEach(() => expect(isPolluted()).toBe(false))

/** A text with something changed: a part of it replaced, cut off, repeated, or moved. */
const meddledWith = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.nat(text.length),
      fc.nat(text.length),
      fc.oneof(fc.constant(''), fc.string({ maxLength: 3 }), fc.string({ unit: 'binary', maxLength: 3 })),
    )
    .map(([from, to, piece]) => text.slice(0, from) + piece + text.slice(to))

describe('10,000 hostile', { timeout: 120_000 }, () => {
  it('cookies open to the flow that was sealed in them, or to none', async () => {
    const cookies = createFlowCookies(sealer, () => NOW)
    const server = declare('https://mcp.example/mcp')
    const flow: PendingFlow = { ...flowAt('https://as.example', server), expiresAt: NOW + 1000 }
    const other: PendingFlow = { ...flow, state: 'another-state', user: 'mallory' }
    const request = (cookie: string): IncomingMessage => ({ headers: { cookie } }) as IncomingMessage
    const pairs: string[] = []
    for (const it of [flow, other]) {
      const [setCookie = ''] = await cookies.keep(request(pairs.join('; ')), it)
      pairs.push(setCookie.split(';', 1)[0] ?? '')
    }
    expect((await cookies.all(request(pairs.join('; ')), BASE_URL)).length).toBe(2)
    const [own = '', others = ''] = pairs
    const [name = ''] = own.split('=', 1)
    const headers = fc.oneof(
      meddledWith(own),
      meddledWith(pairs.join('; ')),
      fc.constant(`${name}=${others.slice(name.length + 1)}`),
      fc.array(fc.oneof(meddledWith(own), meddledWith(others)), { maxLength: 8 }).map((all) => all.join(';')),
      fc.string({ unit: 'binary' }).map((text) => `${name}=${text}`),
      fc.string().map((text) => `mcp-dcr-1=1-${'0'.repeat(32)}.${text}`),
    )
    let opened = 0
    const isRight = ({ user, state }: PendingFlow): boolean =>
      (user === 'ann' && state === flow.state) || (user === 'mallory' && state === other.state)
    await fc.assert(
      fc.asyncProperty(headers, async (header) => {
        const all = await cookies.all(request(header), BASE_URL)
        const found = await cookies.find(request(header), flow.state, BASE_URL).catch((error: unknown) => {
          expect(error).toEqual(errorOf('flow_not_found'))
        })
        if (found !== undefined) opened++
        // Sealing takes longer than opening.
        const kept = header.length % 8 === 0 ? await cookies.keep(request(header), flow) : []
        return (
          all.every(isRight) &&
          (found === undefined || found.user === 'ann') &&
          cookies.drop(request(header), flow).every((it) => /^mcp-dcr-\d=; Max-Age=0; /.test(it)) &&
          kept.every((it) => /^mcp-dcr-\d=[\w.-]*; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax$/.test(it))
        )
      }),
      MANY,
    )
    expect(opened).toBeGreaterThan(100)
  })

  it('request states open to what was sealed in them, or are refused', async () => {
    const states = createRequestStates(sealer, () => NOW)
    const place = (requestState: unknown) => ({
      place: 'server notes',
      user: 'ann',
      request: { id: 1, method: 'tools/call', params: { name: 'echo', requestState } },
    })
    const state = (await states.seal(place('of the server itself'), 'notes', undefined)) ?? ''
    expect(await states.open(place(state))).toMatchObject({
      round: 1,
      inner: { requestState: 'of the server itself' },
    })
    const values = fc.oneof(
      { weight: 4, arbitrary: meddledWith(state) },
      fc.string({ unit: 'binary' }).map((text) => `mcp-dcr.${text}`),
      fc.anything({ withBigInt: true, withNullPrototype: true }),
    )
    await fc.assert(
      fc.asyncProperty(values, async (requestState) => {
        const at = place(requestState)
        if (!bringsState(at.request))
          return typeof requestState !== 'string' || !requestState.startsWith('mcp-dcr.')
        const opened = await states.open(at)
        if (opened === undefined) return true
        // The last letter of base64url has bits that mean nothing.
        return opened.round === 1 && opened.inner['requestState'] === 'of the server itself'
      }),
      MANY,
    )
  })

  it('messages are JSON-RPC requests with an id and a method, or none', () => {
    const request = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'echo', inputResponses: { a: { action: 'decline' } } },
    }
    const results = { read: 0, refused: 0 }
    fc.assert(
      fc.property(hostileJson(request), (text) => {
        const message = parseMcpMessage(text)
        if (message === undefined) results.refused++
        else results.read++
        return (message?.requests ?? []).every((it) => {
          isDeclined(it, 'a')
          restoredParams(it.params, { server: 'notes', round: 1, askedAt: 0, inner: {} })
          return (
            ['string', 'number'].includes(typeof it.id) &&
            typeof it.method === 'string' &&
            typeof it.params === 'object'
          )
        })
      }),
      MANY,
    )
    expect(Math.min(results.read, results.refused)).toBeGreaterThan(500)
  })

  it('bodies that another parser has made are read as messages, or are none', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, withMap: true }),
        (body) => {
          readMcpMessage(body)
        },
      ),
      MANY,
    )
  })
})
