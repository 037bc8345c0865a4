import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { mcpDcr, McpDcrError, type Options } from '../../src/index.js'
import { createPerson, type Person } from '../support/person.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { holdTokenRequests } from '../support/hold-token-requests.js'
import { startWorld, type World } from '../support/gateway.js'

let world: World
let gateway: DcrGateway
let alice: Person
let directory: string

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  world = await startWorld()
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url }, directory })
  alice = createPerson()
  alice.setCookie(gateway.url, 'user=alice; Path=/')
  expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
})

afterEach(async () => {
  await gateway.close()
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

function startUp(options: Options): McpDcrError {
  try {
    void mcpDcr({ servers: {}, ...options }).close()
  } catch (error) {
    if (error instanceof McpDcrError) return error
    throw error
  }
  throw new Error('it started')
}

async function restart(): Promise<void> {
  const { port } = gateway
  await gateway.close()
  gateway = await startDcrGateway({ servers: { notes: world.mcpServer.url }, directory, port })
}

/** Closes the gateway while the token request of what was begun is not answered yet; then it is. */
async function closeDuringTokenRequest<T>(
  begin: () => Promise<T>,
): Promise<{ outcome: Promise<T>; closed: Promise<void> }> {
  const { arrived, answer } = holdTokenRequests(world.authorizationServer)
  const outcome = begin()
  await arrived
  const close = vi.spyOn(gateway.dcr, 'close')
  const closed = gateway.close()
  await vi.waitFor(() => expect(close).toHaveBeenCalled())
  await new Promise(setImmediate)
  answer()
  return { outcome, closed }
}

describe('the JSON file store of a gateway', () => {
  it('keeps people connected over a restart, by the same client (FIELD-NOTES 2)', async () => {
    await restart()
    expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    expect(world.authorizationServer.count('POST', '/reg')).toBe(1)
    expect(world.authorizationServer.count('POST', '/token')).toBe(1)
  })

  it('is closed once a refresh that is under way has saved its rotated token', async () => {
    const refreshed = await closeDuringTokenRequest(() => gateway.dcr.refresh('alice', 'notes'))
    expect(await refreshed.outcome).toMatchObject({ state: 'connected' })
    await refreshed.closed
    await restart()
    expect(await gateway.dcr.refresh('alice', 'notes')).toMatchObject({ state: 'connected' })
  })

  it('is closed once a sign-in that has come back has saved its tokens', async () => {
    const bob = createPerson()
    bob.setCookie(gateway.url, 'user=bob; Path=/')
    const signedIn = await closeDuringTokenRequest(() =>
      // Closing the gateway's server ends the person's connection, but not what they have begun.
      expect(bob.signIn(`${gateway.url}/mcp/notes/page`, { login: 'bob' })).rejects.toThrow(),
    )
    await Promise.all([signedIn.outcome, signedIn.closed])
    await restart()
    expect(await gateway.dcr.connections('bob')).toMatchObject([{ state: 'connected' }])
  })

  it('asks for a sign-in, and for nothing else, where the token has died meanwhile', async () => {
    await restart()
    world.mcpServer.revokeSeen()
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token') return false
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
      return true
    }
    expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(302)
    world.authorizationServer.intercept = undefined
    expect((await alice.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })

  it('holds both collections in one readable 0600 file, beside a 0600 key', () => {
    const content = JSON.parse(readFileSync(gateway.storePath, 'utf8')) as Record<string, object>
    expect(Object.keys(content)).toEqual(
      expect.arrayContaining(['oauth_client_registrations', 'oauth_tokens']),
    )
    expect(Object.keys(content['oauth_tokens'] ?? {})).toEqual(['notes/alice'])
    expect(statSync(gateway.storePath).mode & 0o777).toBe(0o600)
    expect(statSync(`${gateway.storePath}.key`).mode & 0o777).toBe(0o600)
  })

  it('refuses a second process, a damaged file and a wrong key at start-up, and leaves the file untouched', async () => {
    expect(startUp({ store: gateway.storePath }).code).toBe('store_locked')
    await gateway.close()
    const before = readFileSync(gateway.storePath)
    const wrong = startUp({
      store: gateway.storePath,
      encryptionKey: 'another key of at least 32 characters',
    })
    expect(wrong.code).toBe('encryption_key_mismatch')
    renameSync(`${gateway.storePath}.key`, `${gateway.storePath}.key.away`)
    expect(startUp({ store: gateway.storePath }).code).toBe('encryption_key_missing')
    expect(existsSync(`${gateway.storePath}.key`)).toBe(false)
    renameSync(`${gateway.storePath}.key.away`, `${gateway.storePath}.key`)
    expect(readFileSync(gateway.storePath)).toEqual(before)
    const torn = before.subarray(0, before.length / 2)
    writeFileSync(gateway.storePath, torn)
    expect(startUp({ store: gateway.storePath }).code).toBe('store_corrupt')
    expect(readFileSync(gateway.storePath)).toEqual(torn)
    writeFileSync(gateway.storePath, before)
    gateway = await startDcrGateway({
      servers: { notes: world.mcpServer.url },
      directory,
      port: gateway.port,
    })
    expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
  })

  it('wants OAUTH_ENCRYPTION_KEY outside of loopback', () => {
    const error = startUp({
      baseUrl: 'https://gateway.example.com',
      user: () => 'alice',
      store: join(directory, 'other.json'),
    })
    expect([error.code, error.fix]).toEqual([
      'encryption_key_missing',
      expect.stringContaining('openssl rand -base64 32'),
    ])
    expect(existsSync(join(directory, 'other.json'))).toBe(false)
  })

  it('fails the call when the store cannot be written, keeps the earlier data, and works again afterwards', async () => {
    const bob = createPerson()
    bob.setCookie(gateway.url, 'user=bob; Path=/')
    const before = readFileSync(gateway.storePath)
    const away = `${directory}.away`
    renameSync(directory, away)
    writeFileSync(directory, 'a file where the directory was: nothing can be written below it')
    const failed = await bob.signIn(`${gateway.url}/mcp/notes/page`)
    expect(failed.status).toBe(503)
    expect(failed.text).toContain('store_write_failed')
    expect((await alice.open(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    rmSync(directory)
    renameSync(away, directory)
    expect(readFileSync(gateway.storePath)).toEqual(before)
    expect((await bob.signIn(`${gateway.url}/mcp/notes/page`)).status).toBe(200)
    expect((await gateway.dcr.connections('bob'))[0]?.state).toBe('connected')
  })
})
