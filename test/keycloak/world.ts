import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject } from 'vitest'
import type { OAuthConfig } from '../../src/index.js'
import { callTool } from '../support/call-tool.js'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startMcpServer, type McpServer } from '../support/mcp-server.js'
import { createPerson, type Page, type Person } from '../support/person.js'
import { createRealm, type Realm } from './realm.js'
import { signInAtKeycloak } from './sign-in.js'

/** A realm, an MCP server that checks its tokens, and a gateway in front of it. */
export interface KeycloakWorld {
  readonly realm: Realm
  readonly mcpServer: McpServer
  readonly gateway: DcrGateway
  readonly alice: Person
  /** Epoch milliseconds: the gateway's clock. */
  now: number
  startGateway(oauthConfig?: OAuthConfig, port?: number): Promise<void>
  /** Sends Alice through the sign-in, wherever it ends. */
  tryToSignIn(): Promise<Page>
  signIn(): Promise<void>
  /** Has the tool say who calls it. */
  whoami(): Promise<string | undefined>
  /** Checks that the realm knows the clients that the gateway holds, and no others. */
  close(): Promise<void>
}

/** @param scopesSupported of the MCP server; what else than `mcp:read` is in it, the realm does not know */
export async function startKeycloakWorld(scopesSupported = ['mcp:read']): Promise<KeycloakWorld> {
  const realm = await createRealm()
  const { issuer, jwks } = realm
  // Its access tokens are plain `JWT` in their header; RFC 9068 is a switch of each client.
  const mcpServer = await startMcpServer({ issuer, jwks, tokenType: 'JWT', scopesSupported })
  await realm.addScope('mcp:read', mcpServer.resource)
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  const { url } = mcpServer

  const world = {
    realm,
    mcpServer,
    now: Date.now(),
    gateway: undefined as unknown as DcrGateway,
    alice: undefined as unknown as Person,
    async startGateway(oauthConfig: OAuthConfig = {}, port?: number) {
      world.gateway = await startDcrGateway({
        servers: { notes: url },
        options: () => ({
          servers: { notes: { url, oauthConfig } },
          clock: () => world.now,
          allowPrivateNetworks: [new URL(inject('keycloak').url).hostname],
        }),
        directory,
        ...(port !== undefined && { port }),
      })
      world.alice = createPerson({ trustLoopback: true })
      world.alice.setCookie(world.gateway.url, 'user=alice; Path=/')
    },
    tryToSignIn: () => signInAtKeycloak(world.alice, `${world.gateway.url}/api/oauth/authorize/notes`),
    async signIn() {
      const page = await world.tryToSignIn()
      const connected = `${world.gateway.url}/api/oauth/connected/notes`
      expect([page.status, page.url], page.text).toEqual([200, connected])
    },
    async whoami() {
      const headers = { 'x-user': 'alice' }
      return (await callTool(`${world.gateway.url}/mcp/notes`, { headers }, 'whoami')).text
    },
    async close() {
      const held = await world.gateway.dcr.registrations.list()
      const known = await realm.clients()
      await world.gateway.close()
      await mcpServer.close()
      await realm.delete()
      rmSync(directory, { recursive: true, force: true })
      expect(held.map((it) => it.clientId).sort()).toEqual(known.map((it) => it.clientId).sort())
    },
  }
  return world
}
