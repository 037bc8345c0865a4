import express, { type ErrorRequestHandler, type Request, type RequestHandler } from 'express'
import { afterEach, describe, expect, it } from 'vitest'
import { McpDcrError, type AuthorizationRequiredError, type McpDcr, type Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { express4, startWorld, type World } from '../support/gateway.js'
import {
  CALL,
  expectations,
  initialize,
  modernCall,
  modernRetry,
  postMcp,
  rpc,
  URLS,
} from '../support/mcp-caller.js'
import { browserOf } from '../support/visit.js'

let world: World
let gateway: DcrGateway
/** What reaches the gateway's own error handler, mounted after ours. */
let passedOn: unknown[]

interface Setup {
  options?: Options
  version?: typeof express
}

/** A gateway whose handler fails with what `fail` throws, behind `dcr.errorHandler`. */
async function start(
  fail: (dcr: McpDcr, req: Request) => Promise<unknown>,
  { options = {}, version = express }: Setup = {},
) {
  passedOn = []
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    express: version,
    mountServers: false,
    options: () => ({ elicitationWait: 0, ...options }),
    routes: (app, dcr) => {
      const handler: RequestHandler = (req, res, next) => {
        if ((req.body as { method?: string } | undefined)?.method === 'initialize')
          return void res.set('mcp-session-id', 'one').json({})
        fail(dcr, req).then(
          () => res.json({ served: true }),
          (error: unknown) => {
            if (req.query['begun'] !== undefined) res.write('begun')
            else res.set({ 'content-length': '1', 'content-encoding': 'br' })
            next(error)
          },
        )
      }
      app.all(['/h', '/mcp/notes'], express.json(), handler)
      app.use(dcr.errorHandler)
      const own: ErrorRequestHandler = (error, _req, res, next) => {
        passedOn.push(error)
        if (res.headersSent) next(error)
        else res.status(418).end()
      }
      app.use(own)
    },
  })
}

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const url = (path = '/h'): string => gateway.url + path
const connectUrl = (): string => url('/api/oauth/authorize/notes')
const { expectElicitation, expectToolText, expectInputRequired } = expectations(connectUrl)
const fetchOf =
  (user: string, wrap?: (error: unknown) => unknown) =>
  async (dcr: McpDcr): Promise<unknown> => {
    try {
      return await dcr.fetch(user, 'notes')(`${world.mcpServer.url}/page`)
    } catch (error) {
      throw wrap === undefined ? error : wrap(error)
    }
  }

async function signIn(user = 'alice'): Promise<void> {
  const page = await browserOf(user, gateway.url).signIn(connectUrl(), { login: user })
  expect(page.text).toContain('Connected')
}

const get = (path?: string, user = 'alice'): Promise<Response> =>
  fetch(url(path), { headers: { 'x-user': user } })

async function expectProblem(answer: Response, status: number, code: string): Promise<unknown> {
  expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json'])
  const problem = (await answer.json()) as { authorizationUrl?: string }
  expect(problem).toMatchObject({ status, code })
  return problem.authorizationUrl
}

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])('dcr.errorHandler, %s', (_name, version) => {
  describe.each([
    ['an error of dcr.fetch', undefined],
    ['one that a library has wrapped', (cause: unknown) => new Error('transport failed', { cause })],
  ])('answers %s', (_what, wrap) => {
    it('as its caller understands it', async () => {
      const completed: unknown[] = []
      const options: Options = { onElicitationComplete: ({ sessionId }) => void completed.push(sessionId) }
      await start(fetchOf('alice', wrap), { version, options })
      for (const path of ['/h', '/mcp/notes']) {
        expect(await expectProblem(await get(path), 401, 'authorization_required')).toBe(connectUrl())
        expectToolText(await postMcp(url(path), rpc('tools/call', CALL)))
        await postMcp(url(path), initialize(URLS))
        expectElicitation(await postMcp(url(path), rpc('ping'), { 'mcp-session-id': 'one' }))
      }
      const state = expectInputRequired(await postMcp(url(), modernCall()))
      const page = await browserOf('alice', gateway.url).signIn(url())
      expect([page.status, page.url, page.text]).toEqual([200, url(), '{"served":true}'])
      expect(completed).toEqual(['one', 'one'])
      expect((await postMcp(url(), modernRetry(state))).body).toEqual({ served: true })
      expect(passedOn).toEqual([])
    })
  })

  it('answers what else we fail with', async () => {
    await start((dcr) => Promise.resolve(dcr.fetch('alice', 'elsewhere')), { version })
    expect(await expectProblem(await get(), 404, 'unknown_server')).toBeUndefined()
    await gateway.close()
    await world.close()
    await start((dcr) => dcr.refresh('alice', 'notes'), { version })
    expect(await expectProblem(await get(), 401, 'authorization_required')).toBe(connectUrl())
  })

  it('knows the connect URL from the request, where baseUrl is not configured', async () => {
    const options = { baseUrl: undefined } as unknown as Options
    await start(fetchOf('alice'), { version, options: { ...options, user: (req) => req.get('x-user') } })
    expect(await expectProblem(await get(), 401, 'authorization_required')).toBe(connectUrl())
  })
})

describe('dcr.errorHandler', () => {
  it('answers an error of req.mcp.fetch too, whose elicitations the handler has looked at', async () => {
    const completed: unknown[] = []
    const shown: unknown[] = []
    await start(
      (_dcr, req) =>
        req.mcp.fetch(`${world.mcpServer.url}/page`).catch((error: AuthorizationRequiredError) => {
          shown.push(error.elicitations[0]?.elicitationId)
          throw new Error('transport failed', { cause: error })
        }),
      { options: { onElicitationComplete: ({ elicitationId }) => void completed.push(elicitationId) } },
    )
    await postMcp(url(), initialize(URLS))
    const asked = await postMcp(url(), rpc('ping'), { 'mcp-session-id': 'one' })
    const { elicitationId } = expectElicitation(asked)
    await signIn()
    expect([shown, completed]).toEqual([[elicitationId], [elicitationId]])
  })

  it('lets the gateway answer in its own way', async () => {
    await start(fetchOf('alice'), {
      options: { onAuthorizationRequired: (_req, { user }) => ({ status: 200, body: { asks: user } }) },
    })
    expect(await (await get()).json()).toEqual({ asks: 'alice' })
  })

  it.each([
    ['the person who is signed in', 'bob'],
    ['nobody', ''],
  ])('connects nobody in the place of whoever the handler acts for: %s', async (_name, user) => {
    await start(fetchOf('alice'))
    expect(await expectProblem(await get('/h', user), 401, 'authorization_required')).toBe(connectUrl())
    const page = await browserOf(user, gateway.url).open(url())
    expect([page.status, page.location]).toEqual([401, undefined])
    expect(page.text).toContain(connectUrl())
    expectToolText(await postMcp(url(), modernCall(), {}, user))
    await signIn()
    expect(await (await get('/h', user)).json()).toEqual({ served: true })
  })

  const circle = new Error('a')
  circle.cause = new Error('b', { cause: circle })

  it.each<[string, Error]>([
    ['another error', new Error('no')],
    ['an error that is caused by itself', circle],
    ['what is no error', 'no' as unknown as Error],
    ['an object', { code: 'authorization_required', status: 401 } as unknown as Error],
  ])('passes %s on', async (_name, error) => {
    await start(() => Promise.reject(error))
    expect((await get()).status).toBe(418)
    expect(passedOn).toEqual([error])
  })

  it('passes on what comes after the head of a response', async () => {
    await start(fetchOf('alice'))
    await expect(get('/h?begun').then((answer) => answer.text())).rejects.toThrow()
    expect(passedOn).toEqual([expect.any(McpDcrError)])
  })
})
