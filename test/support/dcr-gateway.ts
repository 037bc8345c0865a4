import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import type { Express, Request } from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { mcpDcr, type McpDcr, type Options } from '../../src/index.js'
import { startApp, type App, type StartAppOptions } from './gateway.js'
import { noteRegistrations } from './orphans.js'

export interface DcrGatewayOptions extends StartAppOptions {
  /** MCP endpoints by name; each is proxied at `/mcp/<name>`. None: there is no `servers` option. */
  servers: Record<string, string>
  /** Beside `baseUrl`, `servers` and `store`, which are set here. */
  options?: (url: string) => Options
  /** Mounted before the middleware. */
  before?: (app: Express) => void
  /** More routes, mounted after the middleware. */
  routes?: (app: Express, dcr: McpDcr) => void
  /** Instead of a proxy at each server's path. */
  mountServers?: boolean
  directory?: string
}

export interface DcrGateway extends App {
  readonly dcr: McpDcr
  /** Everything that was logged, one line each. */
  readonly log: string[]
  /** Where the store and the key are. */
  readonly directory: string
  readonly storePath: string
}

/** The user is who the `user` cookie or the `x-user` header says; tests only. */
export function userOf(req: Request): string | undefined {
  const header = req.get('x-user')
  return header ?? /(?:^|; )user=([^;]*)/.exec(req.headers.cookie ?? '')?.[1]
}

/** A gateway as its author would write it, in front of real MCP servers. */
export async function startDcrGateway(given: DcrGatewayOptions): Promise<DcrGateway> {
  const directory = given.directory ?? mkdtempSync(join(tmpdir(), 'mcp-dcr-'))
  const storePath = join(directory, 'store.json')
  const log: string[] = []
  const note =
    (level: string) =>
    (message: string, details?: object): void => {
      // Everything that a logger could print of it, errors and their causes included.
      log.push(`${level} ${message} ${inspect(details ?? {}, { depth: 10 })}`)
    }
  let dcr: McpDcr | undefined
  const app = await startApp((express, { url }) => {
    dcr = mcpDcr({
      baseUrl: url,
      ...(Object.keys(given.servers).length > 0 && { servers: given.servers }),
      store: storePath,
      user: userOf,
      logger: { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
      ...given.options?.(url),
    })
    given.before?.(express)
    express.use(dcr)
    given.routes?.(express, dcr)
    if (given.mountServers === false) return
    for (const [name, target] of Object.entries(given.servers)) {
      express.use(`/mcp/${name}`, createProxyMiddleware({ target, changeOrigin: true }))
    }
  }, given)
  const gateway = dcr as McpDcr
  return Object.assign(app, {
    dcr: gateway,
    log,
    directory,
    storePath,
    close: closing(app.close, gateway, storePath, given.directory === undefined),
  })
}

function closing(closeApp: () => Promise<void>, dcr: McpDcr, storePath: string, temporary: boolean) {
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await closeApp()
    await noteRegistrations(storePath, dcr)
    await dcr.close()
    if (temporary) rmSync(dirname(storePath), { recursive: true, force: true })
  }
  return (): Promise<void> => (closed ??= close())
}
