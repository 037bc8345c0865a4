import { gzipSync } from 'node:zlib'
import express5, { type Express, type RequestHandler } from 'express'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuthorizationRequiredDetails, ElicitationCompleteDetails, Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { express4, startWorld, type World } from '../support/gateway.js'
import {
  CALL,
  expectations,
  initialize,
  MCP,
  modern,
  modernCall,
  modernRetry,
  postMcp,
  rpc,
  URLS,
  type Answer,
  type Json,
} from '../support/mcp-caller.js'
import { createPerson } from '../support/person.js'
import { browserOf } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let now: number
let options: Options
let completed: ElicitationCompleteDetails[]

beforeEach(async () => {
  now = Date.now()
  completed = []
  options = {}
  world = await startWorld({ mcpServer: { sessions: true } })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

async function start(before?: RequestHandler, express?: typeof express5): Promise<void> {
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    ...(express !== undefined && { express }),
    options: () => ({
      clock: () => now,
      elicitationWait: 0,
      onElicitationComplete: (details) => void completed.push(details),
      ...options,
    }),
    ...(before !== undefined && {
      before: (app: Express) => void app.use(before),
      routes: (app: Express) => void app.post('/mcp/notes', relayParsed),
    }),
  })
}

/** A handler behind a body parser: what is left of the body is what the parser, or the middleware, has put there. */
const relayParsed: RequestHandler = async (req, res) => {
  const body = req.body as unknown
  const upstream = await fetch(world.mcpServer.url, {
    method: 'POST',
    headers: { ...MCP, authorization: req.get('authorization') ?? '' },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  })
  const challenge = upstream.headers.get('www-authenticate')
  if (challenge !== null) res.set('www-authenticate', challenge)
  res.status(upstream.status).send(await upstream.text())
}

async function signIn(user = 'alice'): Promise<void> {
  const person = createPerson()
  person.setCookie(gateway.url, `user=${user}; Path=/`)
  expect((await person.signIn(connectUrl(), { login: user })).text).toContain('Connected')
}

const connectUrl = (): string => `${gateway.url}/api/oauth/authorize/notes`

const { expectElicitation, expectToolText, expectError, expectInputRequired } = expectations(connectUrl)

const post = (body: unknown, headers?: Record<string, string>, user?: string): Promise<Answer> =>
  postMcp(`${gateway.url}/mcp/notes`, body, headers, user)

describe('a client of MCP up to 2025-11-25', () => {
  beforeEach(() => start())

  it('that opens URLs is asked to, by initialize', async () => {
    expectElicitation(await post(initialize(URLS)))
  })

  it.each<[string, unknown, unknown]>([
    ['forms alone, as elicitation: {} means', { elicitation: {} }, '2025-11-25'],
    ['forms alone', { elicitation: { form: {} } }, '2025-11-25'],
    ['nothing', {}, '2025-11-25'],
    ['URLs in a version that has none', URLS, '2025-06-18'],
    ['nonsense', { elicitation: { url: true } }, '2025-11-25'],
    ['a list', [URLS], '2025-11-25'],
    ['null', null, '2025-11-25'],
    ['a version that is no text', URLS, 20251125],
    ['a version that is none', URLS, 'zzz'],
  ])('that declares %s gets an error whose message has the URL', async (_name, capabilities, version) => {
    expectError(await post(initialize(capabilities, version)))
  })

  /** A session that was opened while its user was connected, and lost that. */
  async function session(
    capabilities: unknown,
    proposed = '2025-11-25',
  ): Promise<Record<'mcp-session-id' | 'mcp-protocol-version', string>> {
    await signIn()
    const opened = await post(initialize(capabilities, proposed))
    const id = opened.headers.get('mcp-session-id') ?? ''
    expect(id).not.toBe('')
    await gateway.dcr.disconnect('alice', 'notes')
    return { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' }
  }

  it('is asked to open the URL by whatever it has said at the start of its session', async () => {
    const headers = await session(URLS)
    expectElicitation(await post(rpc('tools/call', CALL, 'a'), headers), 'a')
    expectElicitation(await post(rpc('tools/list', {}, 0), headers), 0)
    expectElicitation(await post(rpc('prompts/get', { name: 'x' }), headers))
  })

  it.each(['2026-07-28', '2025-11-25', 'zzz'])(
    'is answered in the version of its session, whatever it had proposed (%s)',
    async (proposed) => {
      const { 'mcp-session-id': id } = await session(URLS, proposed)
      const call = (version: string) =>
        post(rpc('tools/call', CALL), { 'mcp-session-id': id, 'mcp-protocol-version': version })
      expectElicitation(await call('2025-11-25'))
      for (const version of ['2025-06-18', '2025-03-26', '2026-07-28', '2027-01-01', 'zzz'])
        expectToolText(await call(version))
    },
  )

  it('is answered in the version that it had proposed, where its requests name none', async () => {
    const { 'mcp-session-id': now } = await session(URLS)
    expectElicitation(await post(rpc('tools/call', CALL), { 'mcp-session-id': now }))
    const { 'mcp-session-id': before } = await session(URLS, '2025-06-18')
    expectToolText(await post(rpc('tools/call', CALL), { 'mcp-session-id': before }))
  })

  it('that opens URLs is asked to by initialize, whatever later version it proposes', async () => {
    expectElicitation(await post(initialize(URLS, '2026-07-28')))
    expectElicitation(await post(initialize(URLS), { 'mcp-protocol-version': '2025-06-18' }))
  })

  it('gets the URL as a tool’s text, and as an error’s message, where it opens none', async () => {
    const headers = await session({})
    expectToolText(await post(rpc('tools/call', CALL, 'a'), headers), 'a')
    expectError(await post(rpc('tools/list', {}, 0), headers), 0)
  })

  it('gets the text where nothing is known of its session', async () => {
    await session(URLS)
    expectToolText(await post(rpc('tools/call', CALL), { 'mcp-session-id': 'another' }))
    expectToolText(await post(rpc('tools/call', CALL)))
  })

  it('gets an answer for each request of a batch (2025-03-26)', async () => {
    const batch = [
      rpc('tools/call', CALL, 1),
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      rpc('tools/list', {}, 'two'),
    ]
    const { status, body } = await post(batch)
    const [first, second, ...more] = body as unknown as Answer['body'][]
    expect([status, more]).toEqual([200, []])
    expectToolText({ status, headers: new Headers(), body: first ?? {} }, 1)
    expectError({ status, headers: new Headers(), body: second ?? {} }, 'two')
  })

  it.each<[string, Json]>([
    ['2025-11-25', rpc('tools/call', CALL)],
    ['2026-07-28', modernCall()],
  ])(
    'is told in words by a batch, which those that open URLs do not know (%s)',
    async (_version, request) => {
      const headers = await session(URLS)
      const { status, body } = await post([request], headers)
      const [answer] = body as unknown as Answer['body'][]
      expectToolText({ status, headers: new Headers(), body: answer ?? {} })
    },
  )

  it('has no notification answered with 200: that would mean that it was taken', async () => {
    const { status, body } = await post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    expect([status, 'id' in body, body.error?.data?.['code']]).toEqual([403, false, 'authorization_required'])
  })

  it.each<[string, string, Record<string, string>]>([
    ['GET', 'that accepts a stream', { accept: 'text/event-stream' }],
    ['GET', 'that accepts JSON too', { accept: 'application/json, text/event-stream' }],
    ['GET', 'in a session', { 'mcp-session-id': 'lost' }],
    ['GET', 'of a version', { 'mcp-protocol-version': '2025-11-25' }],
    ['DELETE', 'in a session', { 'mcp-session-id': 'lost' }],
  ])(
    'is told that there is no stream and no session to end, not to authorize itself, by a %s %s',
    async (method, _what, headers) => {
      const answer = await fetch(`${gateway.url}/mcp/notes`, {
        method,
        headers: { 'x-user': 'alice', ...headers },
      })
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
      expect(answer.headers.get('www-authenticate')).toBeNull()
      expect(await answer.json()).toMatchObject({ status: 405, code: 'authorization_required' })
    },
  )

  it('that is a browser is led to the sign-in all the same', async () => {
    const headers = { accept: 'text/html, text/event-stream', 'mcp-session-id': 'lost' }
    const page = await createPerson().open(`${gateway.url}/mcp/notes`, {
      headers: { 'x-user': 'alice', ...headers },
    })
    expect(page.status).toBe(302)
    const nobody = await createPerson().open(`${gateway.url}/mcp/notes`, { headers })
    expect([nobody.status, nobody.text.includes('user_required')]).toEqual([401, true])
  })

  it('is told what is wrong where signing in is not possible', async () => {
    world.authorizationServer.metadata = (document) => ({ ...document, registration_endpoint: undefined })
    const { status, body } = await post(rpc('tools/call', CALL))
    expect(status).toBe(200)
    expect(JSON.stringify(body.result?.['content'])).toContain('does not offer dynamic client registration')
    expect(JSON.stringify(body.result?.['content'])).toContain(`${gateway.url}/api/oauth/callback`)
  })

  it('tells whoever has its session when the person has signed in', async () => {
    const headers = await session(URLS)
    const { elicitationId } = expectElicitation(await post(rpc('tools/call', CALL), headers))
    expect(completed).toEqual([])
    await signIn('alice')
    expect(completed).toEqual([
      { user: 'alice', server: 'notes', elicitationId, sessionId: headers['mcp-session-id'] },
    ])
    await signIn('alice')
    expect(completed).toHaveLength(1)
  })
})

describe('a client of MCP 2026-07-28', () => {
  beforeEach(() => start())

  const askedForInput = async (body: Json = modernCall()): Promise<string> =>
    expectInputRequired(await post(body))

  it.each(['tools/call', 'prompts/get', 'resources/read'])(
    'that opens URLs is asked for input by %s',
    async (method) => {
      await askedForInput(rpc(method, { name: 'x', ...modern() }))
    },
  )

  it('gets an error with the URL by other methods, and where it opens no URLs', async () => {
    expectError(await post(rpc('tools/list', modern())))
    expectError(await post(rpc('server/discover', modern())))
    expectError(await post(rpc('prompts/get', modern({}))))
    const text = await post(modernCall({}, { elicitation: {} }))
    expectToolText(text)
    expect(text.body.result?.['resultType']).toBe('complete')
  })

  it.each(['zzz', '', '2026-07-28 ', '9999', 20260728])(
    'is none where the version that it names is none (%j)',
    async (version) => {
      const meta = { ...(modern()['_meta'] as Json), 'io.modelcontextprotocol/protocolVersion': version }
      expectToolText(await post(rpc('tools/call', { ...CALL, _meta: meta })))
    },
  )

  it('is asked again until the person is connected: to accept is not to be done', async () => {
    let state = await askedForInput()
    for (let round = 0; round < 3; round++) state = await askedForInput(modernRetry(state))
    await signIn()
    const served = await post(modernRetry(state))
    expect(JSON.stringify(served.body)).not.toContain('input_required')
    // The MCP server is of an older version, and says so itself: it was asked.
    expect(world.mcpServer.requests.at(-1)?.authorization).toMatch(/^Bearer ey/)
  })

  it('is held once it has accepted, until the person has signed in, and then served', async () => {
    options = { elicitationWait: 600_000 }
    await gateway.close()
    await start()
    const held = post(modernRetry(await askedForInput()))
    const asked = post(modernCall({ requestState: await askedForInput() }))
    await signIn('bob')
    await signIn()
    for (const { body } of await Promise.all([held, asked]))
      expect(JSON.stringify(body)).not.toContain('input_required')
    // Two without a token, and their repetitions with one.
    const calls = world.mcpServer.requests.filter(({ body }) => body.includes('tools/call'))
    expect(calls).toHaveLength(4)
    expect(world.mcpServer.requests.at(-1)?.authorization).toMatch(/^Bearer ey/)
  })

  it('is not asked again where its person denies access while it is held', async () => {
    options = { elicitationWait: 600_000 }
    await gateway.close()
    await start()
    const held = post(modernRetry(await askedForInput()))
    const ofBob = post(modernRetry(expectInputRequired(await post(modernCall(), {}, 'bob'))), {}, 'bob')
    const page = await browserOf('alice', gateway.url).signIn(connectUrl(), { decision: 'deny' })
    expect(page.status).toBe(403)
    const { status, body } = await held
    expect([status, body.result?.['isError']]).toEqual([200, true])
    expect(JSON.stringify(body)).toContain('declined')
    expect(JSON.stringify(body)).toContain(connectUrl())
    // Another's is held on, until they have signed in.
    await signIn('bob')
    expect(JSON.stringify((await ofBob).body)).not.toMatch(/declined|input_required/)
  })

  it('is asked again after the time it is held for', async () => {
    options = { elicitationWait: 1 }
    await gateway.close()
    await start()
    await askedForInput(modernRetry(await askedForInput()))
  })

  it('is not asked without end', async () => {
    let state = await askedForInput()
    for (let round = 1; round < 20; round++) state = await askedForInput(modernRetry(state))
    expectToolText(await post(modernRetry(state)))
  })

  it('is served where its retry names another progress token', async () => {
    const withToken = (progressToken: number): Json => ({
      _meta: { ...(modern()['_meta'] as Json), progressToken },
    })
    const state = await askedForInput(modernCall(withToken(1)))
    await askedForInput(modernRetry(state, 'accept', withToken(2)))
  })

  it('is told in words where what its retry would have to bring back is too long', async () => {
    await askedForInput(modernCall({ requestState: 'x'.repeat(10_000) }))
    expectToolText(await post(modernCall({ requestState: 'x'.repeat(17_000) })))
  })

  it.each(['decline', 'cancel'])('is not asked again after %s', async (action) => {
    const state = await askedForInput()
    const { status, body } = await post(modernRetry(state, action))
    expect([status, body.result?.['isError']]).toEqual([200, true])
    expect(JSON.stringify(body)).toContain('declined')
    expect(JSON.stringify(body)).toContain(connectUrl())
  })

  it('is served after it has declined, once the person has signed in all the same', async () => {
    const state = await askedForInput()
    now += 1
    await signIn()
    const served = await post(modernRetry(state, 'decline'))
    expect(JSON.stringify(served.body)).not.toContain('declined')
    expect(world.mcpServer.requests.at(-1)?.authorization).toMatch(/^Bearer ey/)
  })

  it.each<[string, (state: string) => Promise<Answer>]>([
    ['altered', (state) => post(modernRetry(`${state.slice(0, -4)}AAAA`))],
    ['made up', () => post(modernRetry('mcp-dcr.eyJhbGciOiJub25lIn0..'))],
    ['of another request', (state) => post(modernRetry(state, 'accept', { arguments: { a: 1, b: 3 } }))],
    ['of another method', (state) => post({ ...modernRetry(state), method: 'prompts/get' })],
    ['of another user', (state) => post(modernRetry(state), {}, 'bob')],
    [
      'too old',
      (state) => {
        now += 10 * 60_000
        return post(modernRetry(state))
      },
    ],
  ])('is refused a requestState that is %s, connected or not', async (_name, use) => {
    const state = await askedForInput()
    const refused = { code: -32602, data: { code: 'invalid_request' } }
    const method = (answer: Answer): unknown => answer.body.error ?? answer.body.result
    const before = await use(state)
    await signIn()
    await signIn('bob')
    world.mcpServer.requests.length = 0
    for (const answer of [before, await use(state)]) {
      if (answer.body.result === undefined) expect(method(answer)).toMatchObject(refused)
      else
        expect(answer.body.result).toMatchObject({ isError: true, _meta: { 'mcp-dcr/error': refused.data } })
    }
    expect(world.mcpServer.requests).toEqual([])
  })
})

describe('what a retry brings the MCP server', () => {
  const seen = (): Json => JSON.parse(world.mcpServer.requests.at(-1)?.body ?? '') as Json

  it.each<[string, RequestHandler | undefined, typeof express5]>([
    ['a streamed body', undefined, express5],
    ['a streamed body, Express 4', undefined, express4],
    ['a parsed body', express5.json(), express5],
    ['a body of text', express5.text({ type: '*/*' }), express5],
    ['a body of bytes', express5.raw({ type: '*/*' }), express5],
  ])(
    'is its own: what it had asked for before, and nothing of ours, of %s',
    async (_name, before, express) => {
      await start(before, express)
      const own = {
        requestState: 'the server’s own',
        inputResponses: { name: { action: 'accept', content: { a: 1 } } },
      }
      const params = { ...CALL, ...modern() }
      const asked = await post(rpc('tools/call', { ...params, ...own }))
      const requestState = asked.body.result?.['requestState']
      await signIn()
      await post(
        rpc(
          'tools/call',
          { ...params, requestState, inputResponses: { 'mcp-dcr': { action: 'accept' } } },
          8,
        ),
      )
      expect(seen()).toEqual(rpc('tools/call', { ...params, ...own }, 8))
      // One whose upstream had asked for nothing.
      await gateway.dcr.disconnect('alice', 'notes')
      const again = (await post(rpc('tools/call', params))).body.result?.['requestState']
      await signIn()
      await post(rpc('tools/call', { ...params, requestState: again, inputResponses: {} }, 9))
      expect(seen()).toEqual(rpc('tools/call', params, 9))
    },
  )
})

describe('other clients', () => {
  it('get problem details with the URL', async () => {
    await start()
    const answer = await fetch(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([401, 'application/problem+json'])
    expect(await answer.json()).toMatchObject({
      code: 'authorization_required',
      authorizationUrl: connectUrl(),
    })
  })

  it.each([
    ['no JSON-RPC', '{"hello": "world"}'],
    ['an empty list', '[]'],
    ['nested without end', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ])('get them too for a body that is %s', async (_name, body) => {
    await start()
    const { status, body: problem } = await post(body)
    expect([status, problem['code']]).toEqual([401, 'authorization_required'])
  })

  it('get them too for a parsed body that is no JSON-RPC', async () => {
    await start(express5.json())
    const { status, body: problem } = await post({ hello: 'world' })
    expect([status, problem['code']]).toEqual([401, 'authorization_required'])
  })

  const LONG = JSON.stringify(rpc('tools/call', { filler: 'x'.repeat(4 * 1024 * 1024) }))

  it.each([
    ['longer than is read ahead', LONG],
    ['empty', ''],
    ['a list with something else in it', '[{"jsonrpc":"2.0","id":1,"method":"ping"}, 1]'],
    ['a list without end', JSON.stringify(Array(1001).fill(rpc('ping')))],
  ])(
    'are refused, not told to authorize themselves, where an MCP client’s body is %s',
    async (_name, body) => {
      await start()
      const answer = await post(body)
      expect([answer.status, answer.body]).toMatchObject([
        403,
        { jsonrpc: '2.0', error: { code: -32010, data: { authorizationUrl: connectUrl() } } },
      ])
      expect(answer.body).not.toHaveProperty('id')
      expect(answer.headers.get('www-authenticate')).toBeNull()
    },
  )

  it('are refused so, too, where an MCP client’s body is compressed', async () => {
    await start()
    const answer = await fetch(`${gateway.url}/mcp/notes`, {
      method: 'POST',
      headers: { ...MCP, 'x-user': 'alice', 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify(rpc('tools/call', CALL))),
    })
    const expected = { jsonrpc: '2.0', error: { code: -32010, data: { authorizationUrl: connectUrl() } } }
    expect([answer.status, await answer.json()]).toMatchObject([403, expected])
  })

  it.each<[string, RequestHandler | undefined]>([
    ['streamed', undefined],
    ['parsed as bytes', express5.raw({ type: '*/*' })],
  ])(
    'are answered by the id behind a byte order mark, which goes on as it came, %s',
    async (_name, before) => {
      await start(before)
      const sent = `\uFEFF${JSON.stringify(rpc('tools/call', CALL))}`
      expectToolText(await post(sent))
      expect(world.mcpServer.requests.find(({ method }) => method === 'POST')?.body).toBe(sent)
    },
  )

  it('are answered where a body is too long to be read ahead, and was parsed by somebody else', async () => {
    await start(express5.json({ limit: '10mb' }))
    expectToolText(await post(LONG))
  })

  it('may leave in the middle of a body', async () => {
    await start()
    const cut = new AbortController()
    const stream = new ReadableStream<Uint8Array>({
      start: (it) => it.enqueue(new TextEncoder().encode('{"jsonrpc":"2.0"')),
    })
    const arrived = new Promise<void>((resolve) => {
      gateway.intercept = () => {
        resolve()
        return false
      }
    })
    const request = fetch(`${gateway.url}/mcp/notes`, {
      method: 'POST',
      headers: { ...MCP, 'x-user': 'alice' },
      body: stream,
      duplex: 'half',
      signal: cut.signal,
    })
    await arrived
    cut.abort()
    await expect(request).rejects.toThrow()
    gateway.intercept = undefined
    expectToolText(await post(rpc('tools/call', CALL)))
  })
})

describe('a gateway that answers in its own way (onAuthorizationRequired)', () => {
  const told: AuthorizationRequiredDetails[] = []

  beforeEach(() => {
    told.length = 0
  })

  it('is told who and where, and its answer is sent to browsers and programs alike', async () => {
    options = {
      onAuthorizationRequired: async (req, details) => {
        told.push(details)
        return {
          status: 418,
          headers: { 'x-own': 'yes' },
          body: { go: details.authorizationUrl, path: req.originalUrl },
        }
      },
    }
    await start()
    const { status, headers, body } = await post(rpc('tools/call', CALL))
    expect([status, headers.get('x-own'), body]).toEqual([
      418,
      'yes',
      { go: connectUrl(), path: '/mcp/notes' },
    ])
    const page = await createPerson().open(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } })
    expect([page.status, page.text]).toEqual([418, JSON.stringify({ go: connectUrl(), path: '/mcp/notes' })])
    expect(told).toHaveLength(2)
    expect(told[0]).toMatchObject({
      server: 'notes',
      user: 'alice',
      elicitations: [{ mode: 'url', url: connectUrl() }],
    })
    await signIn()
  })

  it('may say itself what its body is', async () => {
    const type = 'application/vnd.gateway+json'
    options = {
      onAuthorizationRequired: () => ({
        status: 401,
        headers: { 'content-type': type, 'cache-control': 'private' },
        body: { go: 'on' },
      }),
    }
    await start()
    const { status, headers, body } = await post(rpc('tools/call', CALL))
    const sent = ['content-type', 'cache-control', 'referrer-policy'].map((name) => headers.get(name))
    expect([status, body, sent]).toEqual([401, { go: 'on' }, [type, 'private', 'no-referrer']])
  })

  it('may leave it to us', async () => {
    options = { onAuthorizationRequired: () => undefined }
    await start()
    expectToolText(await post(rpc('tools/call', CALL)))
  })

  it('that fails is an error of the gateway, and nothing of it is shown', async () => {
    options = {
      onAuthorizationRequired: () => {
        throw new Error('the password is hunter2')
      },
    }
    await start()
    const { body } = await post(rpc('tools/call', CALL))
    expect(JSON.stringify(body)).toContain('internal_error')
    expect(JSON.stringify(body)).not.toContain('hunter2')
    expect(gateway.log.join('\n')).toContain('hunter2')
  })
})

describe('a connect URL', () => {
  beforeEach(() => start())

  it('binds what comes of it to whoever opens it, and to nobody else', async () => {
    expectToolText(await post(rpc('tools/call', CALL)))
    await signIn('bob')
    expect(await gateway.dcr.connections('bob')).toMatchObject([{ state: 'connected' }])
    expectToolText(await post(rpc('tools/call', CALL)))
  })

  it('needs somebody who is signed in to the gateway, and a server that it declares', async () => {
    const nobody = await createPerson().open(connectUrl())
    expect([nobody.status, nobody.text.includes('user_required')]).toEqual([401, true])
    const alice = createPerson()
    alice.setCookie(gateway.url, 'user=alice; Path=/')
    const unknown = await alice.open(`${gateway.url}/api/oauth/authorize/elsewhere`)
    expect([unknown.status, unknown.text.includes('unknown_server')]).toEqual([404, true])
  })
})
