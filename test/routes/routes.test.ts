import express5, { type Express } from 'express'
import request, { type Response } from 'supertest'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mcpDcr, memoryStore, type McpDcr, type Options } from '../../src/index.js'
import { userOf } from '../support/dcr-gateway.js'
import { express4 } from '../support/gateway.js'

const BROWSER = { accept: 'text/html,*/*;q=0.8', 'sec-fetch-mode': 'navigate', 'x-user': 'alice' }
const PROGRAM = { accept: 'application/json', 'x-user': 'alice' }

describe.each([
  ['Express 5', express5],
  ['Express 4', express4],
])('the routes under /api/oauth, %s', (_version, express) => {
  let dcr: McpDcr
  let app: Express

  function mount(options: Options = {}): void {
    dcr = mcpDcr({
      baseUrl: 'https://gateway.example.com',
      servers: { notes: 'https://mcp.example.com/mcp', 'awk/ward <b>': 'https://awkward.example.com/mcp' },
      user: userOf,
      store: memoryStore(),
      encryptionKey: 'k'.repeat(32),
      logger: { warn: () => undefined, error: () => undefined },
      ...options,
    })
    app = express()
    app.use(dcr)
    app.use((_req, res) => void res.status(418).send('the gateway itself'))
  }

  beforeEach(() => mount())
  afterEach(() => dcr.close())

  const get = (path: string, headers: Record<string, string> = PROGRAM): request.Test =>
    request(app).get(path).set(headers)

  describe('GET /connections', () => {
    it('lists this user’s servers, their states, and where to connect each', async () => {
      const answer = await get('/api/oauth/connections')
      expect(answer.status).toBe(200)
      expect(answer.body).toEqual({
        connections: [
          {
            server: 'notes',
            url: 'https://mcp.example.com/mcp',
            state: 'not_connected',
            unfinished: false,
            authorizationUrl: 'https://gateway.example.com/api/oauth/authorize/notes',
          },
          {
            server: 'awk/ward <b>',
            url: 'https://awkward.example.com/mcp',
            state: 'not_connected',
            unfinished: false,
            authorizationUrl: 'https://gateway.example.com/api/oauth/authorize/awk%2Fward%20%3Cb%3E',
          },
        ],
      })
      expectPrivate(answer)
    })

    it('is for signed-in users', async () => {
      expectProblem(await get('/api/oauth/connections', { accept: '*/*' }), 401, 'user_required')
    })

    it('lists the servers that a function of the request returns', async () => {
      await dcr.close()
      mount({ servers: (req) => ({ [`of-${userOf(req)}`]: 'https://mcp.example.com/mcp' }) })
      const answer = await get('/api/oauth/connections')
      expect(answer.body.connections.map(({ server }: { server: string }) => server)).toEqual(['of-alice'])
    })
  })

  describe('GET /client.json (CIMD, SPEC 16)', () => {
    it('is a public client whose id is its own URL, under 5 KB, for caches', async () => {
      const answer = await get('/api/oauth/client.json', {})
      expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json'])
      expect(answer.body).toEqual({
        client_id: 'https://gateway.example.com/api/oauth/client.json',
        client_name: 'MCP Gateway',
        application_type: 'web',
        redirect_uris: ['https://gateway.example.com/api/oauth/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
      })
      expect(Number(answer.headers['content-length'])).toBeLessThan(5 * 1024)
      expect(answer.headers['cache-control']).toBe('public, max-age=3600')
    })

    it('is not there where the base URL is not https', async () => {
      await dcr.close()
      mount({ baseUrl: 'http://localhost:3001' })
      expectProblem(await get('/api/oauth/client.json'), 404, 'not_found')
    })
  })

  describe('errors', () => {
    it.each([
      ['/api/oauth', 404, 'not_found'],
      ['/api/oauth/', 404, 'not_found'],
      ['/api/oauth/nothing', 404, 'not_found'],
      ['/api/oauth/authorize', 404, 'not_found'],
      ['/api/oauth/authorize/nothing', 404, 'unknown_server'],
      ['/api/oauth/authorize/%E0%A4%A', 404, 'not_found'],
      ['/api/oauth/connected/notes', 404, 'not_found'],
      ['/api/oauth/connected/%00', 404, 'unknown_server'],
      ['/api/oauth/callback', 400, 'flow_not_found'],
      ['/api/oauth/callback?state=%E0%A4%A&code=x', 400, 'flow_not_found'],
      ['/api/oauth/callback?state[]=a&state[__proto__]=b', 400, 'flow_not_found'],
    ])('%s is %i %s, to programs as problem details, to people as a page', async (path, status, code) => {
      const program = await get(path)
      expectProblem(program, status, code)
      const page = await get(path, BROWSER)
      expectPage(page, status)
      expect(page.text).toContain(`Error code: ${code}`)
      expect(page.text).not.toContain(import.meta.dirname)
    })

    it.each(['post', 'put', 'delete', 'patch', 'options'] as const)(
      '%s is no method of theirs',
      async (method) => {
        expectProblem(await request(app)[method]('/api/oauth/callback?code=x').set(PROGRAM), 404, 'not_found')
      },
    )

    it('answers HEAD as GET, without a body', async () => {
      const answer = await request(app).head('/api/oauth/connections').set(PROGRAM)
      expect([answer.status, answer.text]).toEqual([200, undefined])
      expect(answer.headers['content-type']).toBe('application/json')
    })

    it('shows names as text', async () => {
      const page = await get('/api/oauth/authorize/%3Cscript%3Ealert(1)%3C%2Fscript%3E', BROWSER)
      expectPage(page, 404)
      expect(page.text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    })

    it('a failing user option is an internal error that says nothing of its cause', async () => {
      await dcr.close()
      mount({
        user: () => {
          throw new Error('the database password is hunter2')
        },
      })
      const answer = await get('/api/oauth/connections')
      expectProblem(answer, 500, 'internal_error')
      expect(answer.text).not.toContain('hunter2')
    })

    it('a user option that returns no string is refused: a number and a string must not be one user', async () => {
      await dcr.close()
      mount({ user: (() => 42) as unknown as (req: unknown) => string })
      expectProblem(await get('/api/oauth/connections'), 500, 'invalid_options')
    })
  })

  it.each([
    ['GET', '/connections'],
    ['GET', '/authorize/notes'],
    ['GET', '/authorize/nothing'],
    ['GET', '/callback?state=x&code=y'],
    ['GET', '/connected/notes'],
    ['GET', '/registrations'],
    ['GET', '/registrations/x'],
    ['PUT', '/registrations/x'],
    ['POST', '/registrations/x/renew'],
    ['DELETE', '/registrations/x'],
    ['POST', '/connections/notes/disconnect'],
    ['POST', '/connections/notes/refresh'],
    ['POST', '/connections/notes/register'],
    ['DELETE', '/connections/notes'],
    ['GET', '/client.json?x'],
    ['GET', '/nothing'],
  ] as const)(
    '%s %s is kept by no cache, framed by no page, and taken for no other type',
    async (method, path) => {
      await dcr.close()
      mount({ admin: () => true, servers: { notes: 'https://localhost:1/mcp' } })
      for (const headers of [PROGRAM, BROWSER, { ...BROWSER, 'x-user': '' }]) {
        const call = request(app)[method.toLowerCase() as 'get'](`/api/oauth${path}`)
        const { status, headers: answered } = await call.set(headers)
        const isPublic = path.startsWith('/client.json')
        expect(answered['cache-control']).toBe(isPublic ? 'public, max-age=3600' : 'no-store')
        expect(answered).not.toHaveProperty('access-control-allow-origin')
        if (status === 204) continue
        expect(answered).toMatchObject({
          'referrer-policy': 'no-referrer',
          'x-content-type-options': 'nosniff',
        })
        if (answered['content-type'] !== 'text/html; charset=utf-8') continue
        expect(answered['content-security-policy']).toContain("frame-ancestors 'none'")
        expect(answered['x-frame-options']).toBe('DENY')
      }
    },
  )

  it('leaves all other paths to the gateway', async () => {
    for (const path of ['/', '/api', '/api/oauthx', '/api/oauth2/callback', '/x/api/oauth/callback'])
      expect((await get(path)).text).toBe('the gateway itself')
  })
})

function expectPrivate({ headers }: Response): void {
  expect(headers['cache-control']).toBe('no-store')
  expect(headers['referrer-policy']).toBe('no-referrer')
}

function expectProblem(answer: Response, status: number, code: string): void {
  expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json'])
  expect(answer.body).toMatchObject({ status, code, title: expect.any(String), detail: expect.any(String) })
  expect(answer.body.type).toMatch(new RegExp(`troubleshooting\\.md#${code}$`))
  expectPrivate(answer)
}

function expectPage(answer: Response, status: number): void {
  const { headers } = answer
  expect([answer.status, headers['content-type']]).toEqual([status, 'text/html; charset=utf-8'])
  expectPrivate(answer)
  const policy = headers['content-security-policy']
  for (const directive of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"])
    expect(policy).toContain(directive)
  expect(policy).not.toContain('unsafe')
  expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY' })
}
