import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createAggregate } from '../../example-app/aggregate.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { Intercept } from '../support/server.js'
import { browserOf, tokenRequests } from '../support/visit.js'
import type { Caller, Conversation } from './caller.js'
import { inspector } from './inspector.js'
import { mcpRemotes } from './mcp-remote.js'
import { leftIn, openedIn } from './programs.js'
import { writeRuns, type Run } from './record.js'
import { sdkCallers } from './sdk-callers.js'
import { startModernUpstream, startUpstreamWithSessions, type Upstream } from './upstreams.js'

const CALLERS: readonly Caller[] = [...sdkCallers, ...mcpRemotes, inspector]

const proxied = { path: '/mcp/notes', toolName: (tool: string) => tool, isAggregating: false }

interface Place {
  readonly gatewayName: string
  readonly path: string
  readonly toolName: (tool: string) => string
  /** Whether it speaks MCP itself, and so before anybody has signed in. */
  readonly isAggregating: boolean
  /** Whether its clients have sessions, of which it knows what they have declared. */
  readonly hasSessions: boolean
  readonly startUpstream: (world: World) => Promise<Upstream>
}

const PLACES: readonly Place[] = [
  {
    ...proxied,
    gatewayName: 'the proxying gateway, to an MCP server with sessions',
    hasSessions: true,
    startUpstream: startUpstreamWithSessions,
  },
  {
    ...proxied,
    gatewayName: 'the proxying gateway, to an MCP server of 2026-07-28',
    hasSessions: false,
    startUpstream: startModernUpstream,
  },
  {
    gatewayName: 'the aggregating gateway',
    path: '/mcp',
    toolName: (tool) => `notes_${tool}`,
    isAggregating: true,
    hasSessions: true,
    startUpstream: startModernUpstream,
  },
]

let world: World
let gateway: DcrGateway
let home: string
let now: number
let conversation: Conversation | undefined
const runs: Run[] = []

beforeEach(async () => {
  now = Date.now()
  conversation = undefined
  home = mkdtempSync(join(tmpdir(), 'mcp-dcr-client-'))
  world = await startWorld()
})

afterEach(async () => {
  await conversation?.close()
  await gateway.close()
  await world.close()
  rmSync(home, { recursive: true, force: true })
})

afterAll(() => {
  if (process.env.RECORD_CLIENTS !== undefined) writeRuns(runs, INTRO)
})

const INTRO = `What each client showed its person, written by \`RECORD_CLIENTS=1 npm run test:clients\` (\`test/clients/clients.test.ts\`), on Node.js ${process.versions.node}. "To open" is what a client was asked to open; where the SDK has an error of its own for that, its name is there.`

describe.each(PLACES)('through $gatewayName', (place) => {
  let upstream: Upstream

  beforeEach(async () => {
    upstream = await place.startUpstream(world)
    const servers = { notes: upstream.url }
    const { handler, onElicitationComplete } = createAggregate(servers)
    gateway = await startDcrGateway({
      servers,
      options: () => ({ clock: () => now, onElicitationComplete }),
      routes: (app) => void app.all('/mcp', express.json(), handler),
    })
  })

  afterEach(() => upstream.close())

  it.each(CALLERS)(
    '$name says where to sign in, and is bothered again by nothing but a grant’s end and a wider scope',
    async (caller) => {
      const run: Run = { gateway: place.gatewayName, caller: caller.name, steps: [] }
      runs.push(run)
      let visits = 0
      const client = await caller.start({
        url: gateway.url + place.path,
        headers: { 'x-user': 'alice' },
        home,
        visit: async (url) => {
          visits++
          expect(url).toBe(connectUrl())
          await signIn()
        },
      })
      conversation = client

      async function hears(step: string, question: () => Promise<string>): Promise<string> {
        const said = await question()
        run.steps.push([step, said.replaceAll(gateway.url, 'https://gateway.example').trim()])
        expect(said).not.toContain(upstream.url)
        expect(said).not.toContain(world.authorizationServer.url)
        return said
      }
      const whoami = () => client.callTool(place.toolName('whoami'))
      // Of a server that nobody is signed in to, this is the one tool that is listed.
      const connect = () => client.callTool('notes_connect')
      const whoamiOrConnect = place.isAggregating && caller.callsListedToolsOnly ? connect : whoami
      const add = () => client.callTool(place.toolName('add'), { a: 2, b: 3 })

      /** Either is told where to sign in, and does; or is asked meanwhile, and goes on. */
      async function signsInFor(
        step: string,
        refused: () => Promise<string>,
        question: () => Promise<string>,
        answer: string,
      ): Promise<void> {
        const before = visits
        const said = await hears(step, refused)
        if (visits > before) {
          expect([said, visits]).toEqual([answer, before + 1])
          return
        }
        expect(said).toContain(connectUrl())
        if (place.hasSessions && client.isConnected())
          expect(said.includes('to open:')).toBe(caller.opensUrls)
        await signIn()
        expect(await hears('… signed in', question)).toBe(answer)
      }

      const list = await hears('not signed in: tools/list', client.listTools)
      if (place.isAggregating) expect(list).toBe('notes_connect')
      else expect(list).toContain(connectUrl())
      if (place.isAggregating) await signsInFor('not signed in: notes_connect', connect, whoami, 'alice')
      else await signsInFor('not signed in: whoami', whoami, whoami, 'alice')
      expect(await hears('tools/list', client.listTools)).toBe(
        ['whoami', 'add', 'count'].map(place.toolName).join(', '),
      )

      now += 3600_000
      expect(await hears('token expired: whoami', whoami)).toBe('alice')
      expect(refreshes()).toBe(1)
      now += 60_000
      upstream.rejectSeen()
      expect(await hears('token rejected: whoami', whoami)).toBe('alice')
      expect(refreshes()).toBe(2)

      await signsInFor('more scope needed: add', add, add, '5')
      expect(await hears('whoami', whoami)).toBe('alice')

      now += 60_000
      upstream.rejectSeen()
      world.authorizationServer.intercept = refuseToRefresh
      await signsInFor('grant revoked', whoamiOrConnect, whoami, 'alice')
      expect(visits).toBe(caller.goesOn && !place.hasSessions ? 2 : 0)
      expectNothingOfTheUpstream(caller)
    },
  )
})

const connectUrl = (): string => `${gateway.url}/api/oauth/authorize/notes`

async function signIn(): Promise<void> {
  expect((await browserOf('alice', gateway.url).signIn(connectUrl())).text).toContain('Connected')
}

const refreshes = (): number => tokenRequests(world.authorizationServer, 'refresh_token').length

const refuseToRefresh: Intercept = (_req, res, { path, form }) => {
  if (path !== '/token' || form.get('grant_type') !== 'refresh_token') return false
  res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
  return true
}

/** No client has found a way to the authorization server, or has sent its person anywhere by itself. */
function expectNothingOfTheUpstream(caller: Caller): void {
  const probes = gateway.requests.filter(({ path }) => path.includes('/.well-known/'))
  expect(probes.map(({ status }) => status)).toEqual(Array(probes.length).fill(404))
  expect(probes.length > 0).toBe(caller.probesMetadata)
  const { requests } = world.authorizationServer
  const registered = requests.filter(({ method, path }) => method === 'POST' && path === '/reg')
  for (const { body } of registered) expect(JSON.parse(body)).toMatchObject({ client_name: 'MCP Gateway' })
  expect(requests.filter(({ path }) => path === '/auth')).toHaveLength(3)
  expect(openedIn(home)).toBe('')
  expect(leftIn(home).filter((name) => /token|client_info/.test(name))).toEqual([])
}
