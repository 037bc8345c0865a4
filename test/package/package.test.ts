import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld } from '../support/gateway.js'
import { createPerson } from '../support/person.js'
import { createConsumer, packPackage, type Consumer, type Tarball } from './consumer.js'

const SOURCE = join(dirname(dirname(import.meta.dirname)), 'src')

const JAVASCRIPT = `
import express from 'express'
import { existsSync } from 'node:fs'
import { McpDcrError, mcpDcr } from 'mcp-dcr'

const dcr = mcpDcr({ servers: { notion: 'https://mcp.example.com/mcp' }, store: 'data/store.json' })
const app = express()
app.use(dcr)
app.get('/hello', (req, res) => res.send('hello'))
const server = app.listen(0, '127.0.0.1', async () => {
  const origin = 'http://127.0.0.1:' + server.address().port
  const hello = await fetch(origin + '/hello')
  const connections = await fetch(origin + '/api/oauth/connections', { headers: { accept: 'application/json' } })
  console.log(hello.status, await hello.text())
  console.log(connections.status, JSON.stringify((await connections.json()).connections.map((c) => [c.server, c.state])))
  console.log(JSON.stringify((await dcr.connections('local')).map((c) => c.state)), typeof dcr.fetch('local', 'notion'))
  try {
    mcpDcr({ clientNme: 'misspelt' })
  } catch (error) {
    console.log(error instanceof McpDcrError, error.code)
  }
  server.close()
  server.closeAllConnections()
  const locked = existsSync('data/store.json.lock')
  await dcr.close()
  console.log(locked, existsSync('data/store.json.lock'))
})
`

const TYPESCRIPT = `
import express, { type RequestHandler } from 'express'
import { McpDcrError, mcpDcr, memoryStore, type CredentialStore, type ErrorCode, type Options } from 'mcp-dcr'
import { storeChecks, type StoreCheck } from 'mcp-dcr/compliance'
import { postgresStore, type PostgresPool } from 'mcp-dcr/postgres'
import { redisStore, type RedisClient } from 'mcp-dcr/redis'

const store: CredentialStore = memoryStore()
const shared: (pool: PostgresPool, client: RedisClient) => CredentialStore[] = (pool, client) => [
  postgresStore({ pool }),
  redisStore({ client }),
]
const checks: StoreCheck[] = storeChecks({ shared: false, open: () => store })
const options: Options = {
  baseUrl: 'https://gateway.example.com',
  servers: { notion: { url: 'https://mcp.example.com/mcp', oauthConfig: { scopes: 'read write' } } },
  user: (req) => req.get('x-user'),
  store,
}
const dcr = mcpDcr(options)
const handler: RequestHandler = dcr
const closed: Promise<void> = dcr.close()
const upstream: typeof fetch = dcr.fetch('user', 'notion')
const states: string[] = (await dcr.connections('user')).map(({ state }) => state)
const code: ErrorCode = new McpDcrError('not_found', 'x').code
const app = express().use(dcr)
app.get('/tools', async (req, res) => void res.send(await (await req.mcp.fetch('https://mcp.example.com/mcp')).text()))
// @ts-expect-error -- a misspelt option
mcpDcr({ clientNme: 'x' })
void [shared, checks, handler, closed, upstream, states, code]
`

// Servers from mcp.json, one local user, a key and a store beside it: everything by default.
const GATEWAY = `
import express from 'express'
import { readFileSync } from 'node:fs'
import { mcpDcr } from 'mcp-dcr'

const { mcpServers } = JSON.parse(readFileSync('mcp.json', 'utf8'))
const dcr = mcpDcr()
const app = express()
app.use(dcr)
app.get('/page', (req, res, next) => {
  req.mcp.fetch(mcpServers.notes.url + '/page').then(async (answer) => res.send(await answer.text())).catch(next)
})
const server = app.listen(0, 'localhost', () => console.log('http://localhost:' + server.address().port))
process.stdin.resume().once('end', () => {
  server.close()
  server.closeAllConnections()
  dcr.close()
})
`

// Neither pg nor redis is installed beside it.
const STORES = `
import { memoryStore } from 'mcp-dcr'
import { storeChecks } from 'mcp-dcr/compliance'
import { postgresStore } from 'mcp-dcr/postgres'
import { redisStore } from 'mcp-dcr/redis'

const checks = storeChecks({ shared: false, persistent: false, open: (_, clock) => memoryStore({ clock }) })
await checks[0].run()
for (const [open, options] of [[postgresStore, {}], [redisStore, {}]]) {
  try {
    open(options)
  } catch ({ code, fix }) {
    console.log(code, fix)
  }
}
`

const COMMAND = `
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'

const run = (...args) => new Promise((resolve) =>
  execFile('npx', ['--no', 'mcp-dcr', ...args], (error, out, errors) => {
    console.log(error?.code ?? 0, (out + errors).replaceAll('\\n', ' '))
    resolve()
  }))
writeFileSync('from.json', JSON.stringify({ version: 1, oauth_tokens: { 'notes/ann': { version: 'v', data: {} } } }))
await run('migrate', '--from', 'from.json', '--to', 'to.json')
await run('migrate', '--from', 'from.json', '--to', 'postgres://localhost/x')
await run('migrate', '--from', 'from.json', '--to', 'redis://localhost/0')
`

const COMMON_JS = `
const { mcpDcr, memoryStore } = require('mcp-dcr')
console.log(typeof mcpDcr({ servers: {}, store: memoryStore() }))
`

// proper-lockfile would do all of the first three when it is loaded. That the process ends shows that nothing keeps it.
const IMPORT_ALONE = `
import { readdirSync } from 'node:fs'

const observe = () => ({
  listeners: process.eventNames().map((name) => String(name) + process.listenerCount(name)).sort().join(),
  emit: process.emit,
  reallyExit: process.reallyExit,
  files: readdirSync('.').sort().join(),
  timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
})
const before = observe()
await import('mcp-dcr')
const after = observe()
console.log(JSON.stringify(Object.keys(before).filter((name) => before[name] !== after[name])))
`

let tarball: Tarball
beforeAll(async () => void (tarball = await packPackage()))
afterAll(() => tarball.remove())

describe('the packed files', () => {
  it('are the entry points and what they share, their types, the documents, and the license of what is bundled', () => {
    const documents = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json']
    const entries = ['cli/main', 'index', 'store/compliance', 'store/postgres', 'store/redis']
    const types = entries.slice(1).map((name) => `dist/${name}.d.ts`)
    const sources = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).map((name) =>
      name.replaceAll('\\', '/'),
    )
    const isOfTypes = (file: string): boolean =>
      file.endsWith('.d.ts') && sources.includes(file.slice('dist/'.length).replace(/\.d\.ts$/, '.ts'))
    const isShared = (file: string): boolean => /^dist\/[\w-]+-[0-9A-Z]{8}\.js$/.test(file)

    expect(tarball.files).toEqual(expect.arrayContaining(types))
    expect(tarball.files.filter((file) => !isOfTypes(file) && !isShared(file))).toEqual(
      [...documents, ...entries.map((name) => `dist/${name}.js`), 'dist/zod.LICENSE'].sort(),
    )
  })
})

describe.each([
  { name: 'Express 5', dependencies: ['express@5', '@types/express@5', '@types/node@20'] },
  { name: 'Express 4', dependencies: ['express@4', '@types/express@4', '@types/node@20'] },
])('installed beside $name', ({ dependencies }) => {
  let consumer: Consumer
  beforeAll(async () => void (consumer = await createConsumer(tarball, dependencies)))
  afterAll(() => consumer.remove())

  it('works from JavaScript', async () => {
    expect(await consumer.node('app.js', JAVASCRIPT)).toBe(
      [
        '200 hello',
        '200 [["notion","not_connected"]]',
        '["not_connected"] function',
        'true invalid_options',
        'true false',
        '',
      ].join('\n'),
    )
  })

  it('works from CommonJS', async () => {
    expect(await consumer.node('app.cjs', COMMON_JS)).toBe('function\n')
  })

  it('has its stores also where their drivers are not installed', async () => {
    const lines = (await consumer.node('stores.js', STORES)).split('\n')
    expect(lines).toEqual([
      expect.stringMatching(/^invalid_options .*from 'pg'/),
      expect.stringMatching(/^invalid_options .*from 'redis'/),
      '',
    ])
  })

  it('has its command, which says what a store lacks', async () => {
    expect((await consumer.node('command.js', COMMAND)).split('\n')).toEqual([
      expect.stringMatching(/^0 .*oauth_tokens: 1 copied/),
      expect.stringMatching(/^1 .*npm install pg/),
      expect.stringMatching(/^1 .*npm install redis/),
      '',
    ])
  })

  it('signs a person in, with nothing but mcp.json, and over a restart', async () => {
    const world = await startWorld({ authorizationServer: { ownClients: true } })
    try {
      const { url } = world.mcpServer
      await consumer.write('mcp.json', JSON.stringify({ mcpServers: { notes: { url } } }))
      const person = createPerson()
      const first = await consumer.start('gateway.js', GATEWAY)
      const page = await person.signIn(`${first.line}/page`)
      expect([page.status, page.url]).toEqual([200, `${first.line}/page`])
      expect(page.text).toContain('You are alice')
      expect(await first.end()).toBe(0)

      const second = await consumer.start('gateway.js', GATEWAY)
      expect((await person.open(`${second.line}/page`)).text).toContain('You are alice')
      expect(await second.end()).toBe(0)
      expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    } finally {
      await world.close()
    }
  })

  it('has no side effects on import', async () => {
    expect(await consumer.node('import.js', IMPORT_ALONE)).toBe('[]\n')
  })

  it.each(['NodeNext', 'Bundler'] as const)(
    'compiles under strict TypeScript, moduleResolution %s',
    async (resolution) => {
      expect(await consumer.typecheck('app.ts', TYPESCRIPT, resolution)).toBe('')
    },
  )
})
