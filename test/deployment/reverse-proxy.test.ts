import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { freePort } from '../shared-stores/start-server.js'
import { temporaryDirectory } from '../store/support.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { createPerson, type Person } from '../support/person.js'

/** The documented configuration, with this test's ports and certificate, without what needs root. */
function nginxConfiguration(directory: string, port: number, gatewayPort: number): string {
  const documented = /```nginx\n(.*?)```/s.exec(readFileSync('docs/deployment.md', 'utf8'))?.[1] ?? ''
  const server = documented
    .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
    .replace('/etc/ssl/gateway.pem', join(directory, 'gateway.pem'))
    .replace('/etc/ssl/gateway.key', join(directory, 'gateway.key'))
    .replace('127.0.0.1:3000', `localhost:${gatewayPort}`)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${join(directory, name)};`)
    .join('\n')
  return `daemon off; pid ${join(directory, 'pid')}; error_log stderr;
    events {}
    http { access_log off; ${paths}
    ${server} }`
}

const GATEWAY = 'https://gateway.example.com'

let world: World
let gateway: DcrGateway
let nginx: ChildProcess
let proxy: string

beforeEach(async () => {
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { notes: world.mcpServer.url },
    options: () => ({ baseUrl: GATEWAY, encryptionKey: 'a key of more than 32 characters, for tests' }),
    routes: (app) =>
      app.get('/events', (req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' })
        res.write('data: first\n\n')
        req.once('close', () => res.end())
      }),
  })
  const directory = temporaryDirectory()
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', 'gateway.key', '-out', 'gateway.pem']
  execFileSync('openssl', ['req', '-x509', ...key, '-subj', '/CN=gateway.example.com'], {
    cwd: directory,
    stdio: 'ignore',
  })
  const port = await freePort()
  proxy = `https://127.0.0.1:${port}`
  const configuration = join(directory, 'nginx.conf')
  writeFileSync(configuration, nginxConfiguration(directory, port, gateway.port))
  nginx = spawn('nginx', ['-p', directory, '-c', configuration], { stdio: ['ignore', 'inherit', 'inherit'] })
  await listening(port, nginx)
})

afterEach(async () => {
  nginx.kill('SIGTERM')
  await once(nginx, 'exit')
  await gateway.close()
  await world.close()
})

/** Once something answers there; nginx says nothing when it is ready. */
async function listening(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return
  }
  throw new Error('nginx has ended: apt-get install nginx-light; its log is above')
}

function person(user: string): Person {
  const created = createPerson({ hosts: { [GATEWAY]: proxy } })
  created.setCookie(GATEWAY, `user=${user}; Path=/; Secure`)
  return created
}

it('signs people in behind nginx, as it is documented', async () => {
  const alice = person('alice')
  const page = await alice.signIn(`${GATEWAY}/mcp/notes/page`)
  expect([page.status, page.url]).toEqual([200, `${GATEWAY}/mcp/notes/page`])
  const { location = '' } = await person('bob').open(`${GATEWAY}/mcp/notes/page`)
  expect(new URL(location).searchParams.get('redirect_uri')).toBe(`${GATEWAY}/api/oauth/callback`)
})

it('signs in where twenty other sign-ins were begun and left', async () => {
  const alice = person('alice')
  for (let n = 0; n < 20; n++)
    expect((await alice.open(`${GATEWAY}/mcp/notes/page?${'x'.repeat(1000)}`)).status).toBe(302)
  expect((await alice.signIn(`${GATEWAY}/mcp/notes/page`)).status).toBe(200)
})

it('streams through it: the first event comes before the second is sent', async () => {
  const request = httpsRequest(`${proxy}/events`, {
    rejectUnauthorized: false,
    headers: { host: 'gateway.example.com' },
  }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const [chunk] = (await once(response, 'data')) as [Buffer]
  expect(chunk.toString()).toBe('data: first\n\n')
  request.destroy()
})
