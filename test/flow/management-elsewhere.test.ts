import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { listen, type TestServer } from '../support/server.js'

let world: World
let gateway: DcrGateway
let elsewhere: TestServer
let id: string
/** The path of a registration, or its whole URI, as the provider's answer to this method gives it. */
let uris: Partial<Record<string, (path: string) => string>>

beforeEach(async () => {
  uris = {}
  ;[world, elsewhere] = await Promise.all([startWorld(), listen()])
  const { provider } = world.authorizationServer
  const pathFor = provider.pathFor.bind(provider)
  world.authorizationServer.intercept = ({ method = '' }) => {
    provider.pathFor = (name, ...rest) => {
      const path = pathFor(name, ...rest)
      return name === 'client' ? (uris[method]?.(path) ?? path) : path
    }
    return false
  }
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url } })
  await fetch(`${gateway.url}/api/oauth/authorize/notes`, {
    headers: { 'x-user': 'alice' },
    redirect: 'manual',
  })
  id = (await gateway.dcr.registrations.list())[0]?.id ?? ''
})

afterEach(async () => {
  await gateway.close()
  await Promise.all([world.close(), elsewhere.close()])
})

const asked = (): string[] =>
  world.authorizationServer.requests
    .filter(({ path }) => path.startsWith('/reg/'))
    .map(({ method, url, status }) => `${method} ${url.replace(/^\/reg\/[\w-]+/, '…')} ${status}`)

describe('a registration_client_uri in an answer (RFC 7592 §3)', () => {
  it.each(['GET', 'PUT'])('to %s that is of another origin is neither followed nor kept', async (method) => {
    uris[method] = (path) => elsewhere.url + path
    const { registrations } = gateway.dcr
    await registrations.read(id)
    await registrations.update(id, { contacts: ['ops@example.com'] })
    await registrations.renew(id)
    expect(readFileSync(gateway.storePath, 'utf8')).not.toContain(elsewhere.url)
    await registrations.delete(id)
    expect(asked()).toEqual([
      'GET … 200',
      ...['GET … 200', 'PUT … 200'],
      ...['GET … 200', 'PUT … 200'],
      'DELETE … 204',
    ])
    expect(elsewhere.requests).toEqual([])
  })

  it('that is of the same origin is where the next request goes', async () => {
    uris['GET'] = (path) => `${path}?of=get`
    uris['PUT'] = (path) => `${path}?of=put`
    await gateway.dcr.registrations.update(id, { contacts: ['ops@example.com'] })
    await gateway.dcr.registrations.delete(id)
    expect(asked()).toEqual(['GET … 200', 'PUT …?of=get 200', 'DELETE …?of=put 204'])
  })
})
