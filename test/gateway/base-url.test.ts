import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { expect, it } from 'vitest'
import { mcpDcr, memoryStore } from '../../src/index.js'

it('is needed on a Unix socket, by the routes that use it and no others', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  const socketPath = join(directory, 'gateway.sock')
  const dcr = mcpDcr({
    servers: { notes: 'https://mcp.example.com/mcp' },
    user: () => 'alice',
    store: memoryStore(),
    encryptionKey: 'k'.repeat(32),
    logger: { error: () => undefined },
  })
  const app = express().use(dcr)
  app.get(['/hello', '/mcp/notes'], (_req, res) => void res.send('hello'))
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))

  const get = (path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      request({ socketPath, path }, (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (chunk) => (text += chunk))
        res.on('end', () => resolve(`${res.statusCode} ${text}`))
      })
        .once('error', reject)
        .end()
    })
  expect(await get('/hello')).toBe('200 hello')
  expect(await get('/mcp/notes')).toBe('200 hello')
  expect(await get('/api/oauth/authorize/notes')).toMatch(/^500 .*invalid_options.*Set the baseUrl option/)

  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await dcr.close()
  rmSync(directory, { recursive: true })
})
