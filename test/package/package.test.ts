import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

const store: CredentialStore = memoryStore()
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
void [handler, closed, upstream, states, code]
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
  it('are the built modules with their types, and the documents', () => {
    const modules = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ts'),
    )
    const built = modules.flatMap((name) => {
      const base = `dist/${name.replaceAll('\\', '/').slice(0, -'.ts'.length)}`
      return [`${base}.d.ts`, `${base}.js`]
    })
    const documents = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json']
    expect(tarball.files).toEqual([...documents, ...built].sort())
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

  it('has no side effects on import', async () => {
    expect(await consumer.node('import.js', IMPORT_ALONE)).toBe('[]\n')
  })

  it('compiles under strict TypeScript', async () => {
    expect(await consumer.typecheck('app.ts', TYPESCRIPT)).toBe('')
  })
})
