import { createRequire } from 'node:module'
import express5, { type Express } from 'express'
import {
  startAuthorizationServer,
  type AuthorizationServer,
  type AuthorizationServerOptions,
} from './authorization-server.js'
import { startMcpServer, type McpServer, type McpServerOptions } from './mcp-server.js'
import { listen, type TestServer } from './server.js'

/** Express 4; its alias has no types of its own, and none are needed here beyond Express 5's. */
export const express4 = createRequire(import.meta.url)('express4') as typeof express5

export interface StartAppOptions {
  /** Which Express. Defaults to version 5. */
  express?: typeof express5
  /** Defaults to a free one. */
  port?: number
}

export interface App extends TestServer {
  readonly app: Express
}

/** Listens first, then builds the app, so that it can be told its own URL. */
export async function startApp(
  build: (app: Express, at: { url: string; port: number }) => void | Promise<void>,
  { express = express5, port }: StartAppOptions = {},
): Promise<App> {
  // A gateway's requests are as Node makes them.
  const server = await listen(port, false)
  try {
    const app = express()
    await build(app, server)
    server.serve(app)
    return Object.assign(server, { app })
  } catch (error) {
    await server.close()
    throw error
  }
}

export interface WorldOptions {
  authorizationServer?: AuthorizationServerOptions
  mcpServer?: Omit<McpServerOptions, 'issuer'>
}

export interface World {
  readonly authorizationServer: AuthorizationServer
  readonly mcpServer: McpServer
  /** Another MCP server of the same authorization server; closed with the world. */
  addMcpServer(options?: Omit<McpServerOptions, 'issuer'>): Promise<McpServer>
  close(): Promise<void>
}

/** An authorization server, and an MCP server that trusts it. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const authorizationServer = await startAuthorizationServer(options.authorizationServer)
  const mcpServers: McpServer[] = []
  async function addMcpServer(mcpOptions: Omit<McpServerOptions, 'issuer'> = {}) {
    const { issuer, jwks } = authorizationServer
    const mcpServer = await startMcpServer({ issuer, jwks, ...mcpOptions })
    mcpServers.push(mcpServer)
    return mcpServer
  }
  return {
    authorizationServer,
    mcpServer: await addMcpServer(options.mcpServer),
    addMcpServer,
    close: async () => {
      await Promise.all([authorizationServer, ...mcpServers].map((it) => it.close()))
    },
  }
}
