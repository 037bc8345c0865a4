import { resolve } from 'node:path'
import type { Request } from 'express'
import { faultsOf, OPTIONS, refuse } from './check-options.js'
import { McpDcrError } from './errors.js'
import type { Logger, Server } from './model.js'
import { optionsSchema } from './options-schema.js'
import type { Config, Options } from './options.js'
import { providerProfiles } from './providers/index.js'
import { readMcpJson } from './read-mcp-json.js'
import { resolveServers, serverFaults } from './resolve-servers.js'
import { isLoopbackUrl } from './security/guarded-fetch.js'
import { splitKeys } from './security/keys.js'

const DEFAULT_STORE = '.mcp-dcr/store.json'

/**
 * Checks the options and fills in their defaults; reads `OAUTH_ENCRYPTION_KEY` and `mcp.json`.
 *
 * @throws McpDcrError `invalid_options`, `invalid_mcp_json`, `user_option_required`
 */
export function resolveOptions(
  options: Options = {},
  env: NodeJS.ProcessEnv = process.env,
  directory: string = process.cwd(),
): Config {
  refuse(faultsOfAll(options), OPTIONS)
  const baseUrl =
    options.baseUrl === undefined ? undefined : new URL(options.baseUrl).href.replace(/\/+$/, '')
  const local = baseUrl === undefined || isLoopbackUrl(baseUrl)
  if (options.user === undefined && !local) throw userOptionRequired(baseUrl)
  const { store = DEFAULT_STORE } = options
  return Object.freeze({
    baseUrl,
    local,
    ...resolveServersOption(options.servers, directory),
    user: options.user,
    onAuthorizationRequired: options.onAuthorizationRequired,
    onElicitationComplete: options.onElicitationComplete,
    elicitationWait: options.elicitationWait ?? 25_000,
    admin: options.admin,
    clientName: options.clientName ?? 'MCP Gateway',
    clientMetadataUrl: options.clientMetadataUrl,
    encryptionKeys: encryptionKeys(options, env),
    store: typeof store === 'string' ? resolve(directory, store) : store,
    allowPrivateNetworks: Object.freeze([...(options.allowPrivateNetworks ?? [])]),
    trust: options.trust === undefined ? undefined : Object.freeze([...options.trust]),
    providers: Object.freeze([
      ...structuredClone(options.providers ?? []),
      ...Object.values(providerProfiles),
    ]),
    timeout: options.timeout ?? 10_000,
    onEvent: options.onEvent,
    logger: resolveLogger(options.logger ?? {}),
    clock: options.clock ?? Date.now,
  })
}

function faultsOfAll(options: unknown): string[] {
  const servers = (options as Options | null)?.servers
  const isChecked = servers !== undefined && typeof servers !== 'function'
  return [...faultsOf(optionsSchema, options), ...(isChecked ? serverFaults(servers) : [])]
}

function resolveServersOption(
  servers: Options['servers'],
  directory: string,
): Pick<Config, 'servers' | 'serversOf' | 'undeclared'> {
  if (typeof servers === 'function') {
    return { servers: undefined, serversOf: rememberingServersOf(servers), undeclared: false }
  }
  const resolved = servers === undefined ? readMcpJson(directory) : resolveServers(servers)
  const undeclared = servers === undefined && resolved.length === 0
  return { servers: resolved, serversOf: () => resolved, undeclared }
}

/** What a function of the request returns is checked once per object, however often it returns it. */
function rememberingServersOf(
  servers: Extract<Options['servers'], (...args: never[]) => unknown>,
): Config['serversOf'] {
  const known = new WeakMap<object, readonly Server[]>()
  return async (req: Request) => {
    const declared = await servers(req)
    const resolved = known.get(declared) ?? resolveServers(declared)
    known.set(declared, resolved)
    return resolved
  }
}

function encryptionKeys({ encryptionKey }: Options, env: NodeJS.ProcessEnv): readonly string[] | undefined {
  const keys =
    encryptionKey === undefined
      ? splitKeys(env['OAUTH_ENCRYPTION_KEY'])
      : [encryptionKey].flat().filter((key) => key !== '')
  return keys.length === 0 ? undefined : Object.freeze(keys)
}

function resolveLogger(logger: Partial<Logger>): Logger {
  const nothing = (): void => undefined
  return {
    debug: logger.debug?.bind(logger) ?? nothing,
    info: logger.info?.bind(logger) ?? nothing,
    warn:
      logger.warn?.bind(logger) ?? ((message, details) => console.warn(`mcp-dcr: ${message}`, details ?? '')),
    error:
      logger.error?.bind(logger) ??
      ((message, details) => console.error(`mcp-dcr: ${message}`, details ?? '')),
  }
}

function userOptionRequired(baseUrl: string | undefined): McpDcrError {
  return new McpDcrError(
    'user_option_required',
    `mcpDcr(): \`user\` is missing, and ${baseUrl} is not loopback.`,
    {
      fix: 'Set user: (req) => the signed-in user’s id. Without it everyone would share one token.',
    },
  )
}
