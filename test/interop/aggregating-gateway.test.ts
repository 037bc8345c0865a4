import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  ElicitationCompleteNotificationSchema,
  ToolListChangedNotificationSchema,
  type ClientCapabilities,
} from '@modelcontextprotocol/sdk/types.js'
import express from 'express'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createAggregate } from '../../example-app/aggregate.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import type { McpServer } from '../support/mcp-server.js'
import { browserOf } from '../support/visit.js'

let world: World
let gateway: DcrGateway
let calendar: McpServer
const clients: Client[] = []

beforeEach(async () => {
  world = await startWorld({ mcpServer: { toolScopes: { add: ['read'] } } })
  calendar = await world.addMcpServer()
  const servers = { notes: world.mcpServer.url, notes_calendar: calendar.url }
  const { handler, onElicitationComplete } = createAggregate(servers)
  gateway = await startDcrGateway({
    servers,
    mountServers: false,
    options: () => ({ onElicitationComplete }),
    routes: (app) => void app.all('/mcp', express.json(), handler),
  })
})

afterEach(async () => {
  await Promise.all(clients.splice(0).map((it) => it.close()))
  await gateway.close()
  await world.close()
})

async function connect(capabilities: ClientCapabilities = {}, user = 'alice', sessionId?: string) {
  const client = new Client({ name: 'test', version: '1' }, { capabilities })
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), {
    requestInit: { headers: { 'x-user': user } },
    ...(sessionId !== undefined && { sessionId }),
  })
  await client.connect(transport)
  clients.push(client)
  return { client, transport }
}

const connectUrl = (server: string): string => `${gateway.url}/api/oauth/authorize/${server}`

async function signIn(server: string, user = 'alice'): Promise<void> {
  const page = await browserOf(user, gateway.url).signIn(connectUrl(server), { login: user })
  expect(page.text).toContain('Connected')
}

const toolsOf = async (client: Client): Promise<string[]> =>
  (await client.listTools()).tools.map(({ name }) => name)

const call = (client: Client, name: string, args: Record<string, unknown> = {}) =>
  client.callTool({ name, arguments: args })

const text = (words: string) => ({ content: [{ type: 'text', text: words }] })
const toolNames = (server: string): string[] => ['whoami', 'add', 'count'].map((name) => `${server}_${name}`)

describe('the aggregating example', () => {
  it('lets a server work while another one waits for its sign-in', async () => {
    await signIn('notes')
    const { client } = await connect()
    expect(await toolsOf(client)).toEqual([...toolNames('notes'), 'notes_calendar_connect'])
    expect(await call(client, 'notes_whoami')).toEqual(text('alice'))
    expect(await call(client, 'notes_count', { to: 3 })).toEqual(text('counted to 3'))

    await signIn('notes_calendar')
    expect(await toolsOf(client)).toEqual([...toolNames('notes'), ...toolNames('notes_calendar')])
    expect(await call(client, 'notes_calendar_whoami')).toEqual(text('alice'))
    expect((await call(client, 'notes_calendar_connect')).content).toEqual([
      { type: 'text', text: 'You are signed in to notes_calendar: list the tools again.' },
    ])
  })

  it.each<[string, ClientCapabilities]>([
    ['no elicitation', {}],
    ['elicitation by forms alone', { elicitation: {} }],
  ])('tells a client with %s in words where to sign in', async (_name, capabilities) => {
    const { client } = await connect(capabilities)
    for (const tool of ['notes_connect', 'notes_add']) {
      expect(await call(client, tool)).toEqual({
        isError: true,
        ...text(`Sign in to the MCP server "notes" first: ${connectUrl('notes')}`),
      })
    }
  })

  it('asks a client that opens URLs to open it, tells it when that is done, and lists the new tools', async () => {
    const { client } = await connect({ elicitation: { url: {} } })
    const told: unknown[] = []
    const listChanged = new Promise<void>((resolve) => {
      client.setNotificationHandler(
        ElicitationCompleteNotificationSchema,
        ({ params }) => void told.push(params),
      )
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve())
    })
    const refused: unknown = await call(client, 'notes_connect').catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: -32042, elicitations: [{ mode: 'url', url: connectUrl('notes') }] })
    const [{ elicitationId } = {}] = (refused as { elicitations: { elicitationId: string }[] }).elicitations

    await signIn('notes')
    await listChanged
    expect(told).toEqual([{ elicitationId }])
    expect(await toolsOf(client)).toEqual([...toolNames('notes'), 'notes_calendar_connect'])
  })

  it('says where to sign in for the wider scope of one tool, while the others work', async () => {
    await signIn('notes')
    const { client } = await connect()
    const add = () => call(client, 'notes_add', { a: 2, b: 3 })
    expect(await add()).toMatchObject({ isError: true })
    expect(await call(client, 'notes_whoami')).toEqual(text('alice'))
    await signIn('notes')
    expect(await add()).toEqual(text('5'))
    const { requests } = world.authorizationServer
    const [, asked] = requests
      .filter(({ path }) => path === '/auth')
      .map(({ url }) => new URL(url, 'http://x'))
    expect(asked?.searchParams.get('scope')?.split(' ')).toEqual(
      expect.arrayContaining(['mcp:read', 'mcp:write', 'read']),
    )
  })

  it('sends the token of whoever asks, whosever session it is', async () => {
    await signIn('notes')
    const { transport } = await connect()
    const { client } = await connect({}, 'bob', transport.sessionId)
    expect(await call(client, 'notes_whoami')).toMatchObject({ isError: true })
    await signIn('notes', 'bob')
    expect(await call(client, 'notes_whoami')).toEqual(text('bob'))
  })

  it('lists the tools of the others where one server fails, and says that there is no such tool', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    await signIn('notes')
    await signIn('notes_calendar')
    calendar.intercept = (_req, res) => {
      res.writeHead(500).end()
      return true
    }
    const { client } = await connect()
    expect(await toolsOf(client)).toEqual(toolNames('notes'))
    expect(warn.mock.calls.map(([words]) => String(words))).toEqual([
      'The tools of notes_calendar cannot be listed:',
    ])
    expect(await call(client, 'mail_send')).toEqual({ isError: true, ...text('There is no tool mail_send.') })
    warn.mockRestore()
  })

  it('knows no session that it has not opened, or that has ended', async () => {
    const { client, transport } = await connect()
    await transport.terminateSession()
    await expect(client.listTools()).rejects.toThrow()
    const answer = await fetch(`${gateway.url}/mcp`, {
      method: 'POST',
      headers: { 'x-user': 'alice', 'content-type': 'application/json', 'mcp-session-id': 'made-up' },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    })
    expect(answer.status).toBe(404)
  })
})
