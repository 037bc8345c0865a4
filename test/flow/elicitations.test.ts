import express from 'express'
import { UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuthorizationRequiredError } from '../../src/index.js'
import { type ElicitationCompleteDetails, type Elicitation, type Options } from '../../src/index.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import {
  CALL,
  expectations,
  initialize,
  modernCall,
  postMcp,
  rpc,
  URLS,
  type Answer,
} from '../support/mcp-caller.js'
import { browserOf } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let completed: ElicitationCompleteDetails[]
let options: Options

beforeEach(async () => {
  completed = []
  options = {}
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({
      elicitationWait: 0,
      onAuthorizationRequired: (req, details) => options.onAuthorizationRequired?.(req, details),
      onElicitationComplete: async (details) => {
        completed.push(details)
        await options.onElicitationComplete?.(details)
      },
    }),
    routes: (app) => {
      app.post('/h', express.json(), (req, res, next) => {
        const { method } = req.body as { method: string }
        if (method === 'initialize') return void res.set('mcp-session-id', req.get('x-session')).json({})
        req.mcp.fetch(`${world.mcpServer.url}/page`).catch((error: AuthorizationRequiredError) => {
          if (method !== 'own') return next(error)
          // As the SDK's server answers what a handler has thrown.
          const { code, data } = new UrlElicitationRequiredError(error.elicitations, error.message)
          res.json({ jsonrpc: '2.0', id: 7, error: { code, message: error.message, data } })
        })
      })
    },
  })
})

afterEach(async () => {
  await gateway.close()
  await world.close()
})

const connectUrl = (): string => `${gateway.url}/api/oauth/authorize/notes`
const { expectElicitation, expectToolText, expectInputRequired } = expectations(connectUrl)

const call = (session: string | undefined, method = 'tools/call', path = '/h'): Promise<Answer> =>
  postMcp(gateway.url + path, rpc(method, CALL), session === undefined ? {} : { 'mcp-session-id': session })

async function open(session: string, capabilities: unknown = URLS): Promise<void> {
  await postMcp(`${gateway.url}/h`, initialize(capabilities), { 'x-session': session })
}

async function signIn(): Promise<void> {
  const page = await browserOf('alice', gateway.url).signIn(connectUrl(), { login: 'alice' })
  expect(page.text).toContain('Connected')
}

const of = (sessionId: string | undefined, { elicitationId }: { elicitationId: string }) => ({
  user: 'alice',
  server: 'notes',
  sessionId,
  elicitationId,
})

describe('onElicitationComplete', () => {
  it('is told of every session that was asked, each once', async () => {
    await open('one')
    await open('two')
    const one = expectElicitation(await call('one'))
    const two = expectElicitation(await call('two'))
    const own = expectElicitation(await call('two', 'own'))
    expect(completed).toEqual([])
    await signIn()
    expect(completed).toEqual([of('one', one), of('two', two), of('two', own)])
    await gateway.dcr.disconnect('alice', 'notes')
    await signIn()
    expect(completed).toHaveLength(3)
  })

  it('is told of a client that has no session yet', async () => {
    const asked = expectElicitation(await postMcp(`${gateway.url}/mcp/notes`, initialize(URLS)))
    await signIn()
    expect(completed).toEqual([of(undefined, asked)])
  })

  it('is told of nobody who was asked in another way', async () => {
    await open('words', {})
    await open('urls')
    const asked = expectElicitation(await call('urls'))
    for (const path of ['/h', '/mcp/notes']) {
      for (let n = 0; n < 20; n++) expectToolText(await call('words', 'tools/call', path))
      expectToolText(await call(undefined, 'tools/call', path))
      expectInputRequired(await postMcp(gateway.url + path, modernCall()))
    }
    const script = await fetch(`${gateway.url}/mcp/notes`, { headers: { 'x-user': 'alice' } })
    expect(script.status).toBe(401)
    await signIn()
    expect(completed).toEqual([of('urls', asked)])
  })

  it('is told of what onAuthorizationRequired has taken for an answer of its own, and of nothing that it has not', async () => {
    let taken: readonly Elicitation[] = []
    options = {
      onAuthorizationRequired: (req, details) => {
        if (req.get('mcp-session-id') !== 'own') return undefined
        taken = details.elicitations
        return { status: 200, body: { ask: taken } }
      },
    }
    await call('own', 'tools/call', '/mcp/notes')
    await call('ours', 'tools/call', '/mcp/notes')
    await signIn()
    expect(completed).toEqual([of('own', taken[0] as Elicitation)])
  })

  it('that fails is logged, and keeps nobody else from being told', async () => {
    options = {
      onElicitationComplete: ({ sessionId }) => {
        if (sessionId === 'one') throw new Error('the session is gone')
      },
    }
    await open('one')
    await open('two')
    await call('one')
    await call('two')
    await signIn()
    expect(completed.map(({ sessionId }) => sessionId)).toEqual(['one', 'two'])
    expect(gateway.log.join('\n')).toMatch(
      /error the onElicitationComplete option failed.*the session is gone/s,
    )
  })

  it('is told of the newest twenty of one user at one server', async () => {
    await open('urls')
    const asked: { elicitationId: string }[] = []
    for (let n = 0; n < 21; n++) asked.push(expectElicitation(await call('urls')))
    await signIn()
    expect(completed).toEqual(asked.slice(1).map((one) => of('urls', one)))
  })
})
