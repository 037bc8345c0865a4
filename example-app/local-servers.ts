import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { startAuthorizationServer } from '../test/support/authorization-server.js'
import { startMcpServer } from '../test/support/mcp-server.js'
import { ProviderMemory } from '../test/support/oidc-adapter.js'

export interface LocalServersOptions {
  /** By the servers' names. */
  mcpServerPorts: Record<string, number>
  authorizationServerPort: number
  /** Where the authorization server keeps its clients and grants from one start to the next. */
  dataFile: string
}

interface SavedData {
  key: JWK
  models: Record<string, [id: string, payload: AdapterPayload][]>
}

/** MCP servers that ask for a token, and the authorization server that issues it, as the tests use them. */
export async function startLocalServers(options: LocalServersOptions) {
  const saved = load(options.dataFile)
  const key = saved?.key ?? (await newKey())
  const memory = new ProviderMemory()
  const models = new Set(Object.keys(saved?.models ?? {}))
  for (const [model, records] of Object.entries(saved?.models ?? {})) {
    for (const [id, payload] of records) memory.of(model).set(id, payload)
  }

  const saveNow = (): void => {
    const entries = [...models].map((model) => [model, [...memory.of(model)].filter(isAlive)] as const)
    save(options.dataFile, { key, models: Object.fromEntries(entries) })
  }
  let pending: NodeJS.Immediate | undefined
  const saveSoon = (): void => {
    pending ??= setImmediate(() => {
      pending = undefined
      saveNow()
    })
  }

  const authorizationServer = await onPort(options.authorizationServerPort, (port) =>
    startAuthorizationServer({
      port,
      configure: (configuration) => {
        configuration.jwks = { keys: [key] }
        configuration.adapter = (model: string) => {
          models.add(model)
          return saving(memory.adapter(model), saveSoon)
        }
      },
    }),
  )
  const { issuer } = authorizationServer
  const mcpServers = await Promise.all(
    Object.entries(options.mcpServerPorts).map(
      async ([name, wanted]) =>
        [name, await onPort(wanted, (port) => startMcpServer({ issuer, port }))] as const,
    ),
  )

  return {
    /** The MCP endpoints' URLs by name. */
    servers: Object.fromEntries(mcpServers.map(([name, { url }]) => [name, url])),
    issuer,
    close: async () => {
      await Promise.all([authorizationServer, ...mcpServers.map(([, it]) => it)].map((it) => it.close()))
      saveNow()
    },
  }
}

/** Saves after each change: what the gateway has registered has to be known after a crash, too. */
function saving(adapter: Adapter, saveSoon: () => void): Adapter {
  const thenSave =
    <A extends unknown[], R>(change: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const result = await change(...args)
      saveSoon()
      return result
    }
  return {
    ...adapter,
    upsert: thenSave(adapter.upsert),
    consume: thenSave(adapter.consume),
    destroy: thenSave(adapter.destroy),
    revokeByGrantId: thenSave(adapter.revokeByGrantId),
  }
}

/** On this port, or on a free one where it is taken. */
async function onPort<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return start(0)
  }
}

async function newKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: 'example', alg: 'ES256', use: 'sig' }
}

function isAlive([, { exp }]: [string, AdapterPayload]): boolean {
  return exp === undefined || exp * 1000 > Date.now()
}

/** Without its data the authorization server starts anew, and the gateway asks for another sign-in. */
function load(file: string): SavedData | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as SavedData
  } catch {
    return undefined
  }
}

function save(file: string, data: SavedData): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(file, JSON.stringify(data), { mode: 0o600 })
}
