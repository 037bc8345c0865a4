import express, { type NextFunction, type Request, type Response } from 'express'
import { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet } from 'jose'
import { checkToken, type CheckedToken, type TokenRules } from './check-token.js'
import { html, page, PAGE_HEADERS } from './html.js'
import { mcpHandler, type MCP_TOOLS } from './mcp-handler.js'
import { listen, type TestServer } from './server.js'

type Tool = (typeof MCP_TOOLS)[number]

/** What a refused request is told. */
export interface Refusal {
  readonly status: 401 | 403
  /** RFC 6750 §3.1; undefined where no token was sent. */
  readonly error: 'invalid_token' | 'insufficient_scope' | undefined
  readonly resourceMetadataUrl: string
  /** The scopes that the request needs. */
  readonly scope: string | undefined
}

export interface McpServerOptions {
  /** The authorization server's issuer. */
  issuer: string
  /** Its public keys. Defaults to what `<issuer>/jwks` answers when the first token arrives. */
  jwks?: JSONWebKeySet
  /** The `typ` in the header of its access tokens. Defaults to `at+jwt` (RFC 9068 §2.1). */
  tokenType?: string
  /** Defaults to a free one. */
  port?: number
  /** Defaults to `/mcp`. */
  path?: string
  /** RFC 8707 identifier. Defaults to the MCP endpoint's URL. */
  resource?: string
  /** `scopes_supported` of its metadata. Defaults to `mcp:read mcp:write`. */
  scopesSupported?: string[]
  /** Needed for everything. Defaults to `mcp:read`. */
  requiredScopes?: string[]
  /** Needed for calling one tool, beside `requiredScopes`. Defaults to none. */
  toolScopes?: Partial<Record<Tool, string[]>>
  /** Replaces fields of the protected resource metadata; undefined removes one. */
  metadata?: Record<string, unknown>
  /** Where that metadata is served. Defaults to both. */
  metadataAt?: readonly ('path' | 'root')[]
  /** The `WWW-Authenticate` values of a refusal. Defaults to {@link defaultChallenge}. */
  challenge?: (refusal: Refusal) => string | string[] | undefined
  /** Puts `scope` into the default challenge of a 401 too. Defaults to false. */
  challengeWithScope?: boolean
  /** Defaults to true. */
  requireAuth?: boolean
  /** Stateful sessions (`Mcp-Session-Id`). Defaults to false. */
  sessions?: boolean
  /** Answers as JSON, or as an event stream. Defaults to `json`. */
  answerAs?: 'json' | 'event-stream'
  /** Epoch milliseconds, to judge expiry by. Defaults to `Date.now`. */
  clock?: () => number
}

export interface McpServer extends TestServer {
  /** The server's origin; `url` is the MCP endpoint. */
  readonly origin: string
  readonly resource: string
  /** May be changed at any time. */
  metadata: Record<string, unknown>
  challenge: (refusal: Refusal) => string | string[] | undefined
  /** Refuses every token with `invalid_token` while true. */
  rejectAll: boolean
  /** Refuses this token from now on. */
  revoke(token: string): void
  /** Refuses every token seen until now; newer ones are accepted. */
  revokeSeen(): void
  /** Sends an event to everyone who has `<path>/sse` open; the first, `hello`, comes by itself. */
  sendEvent(data: string): void
  /** Ends the streams of `<path>/sse`. */
  endEvents(): void
}

/** The 401 and 403 of the MCP specification, and RFC 9728 §5.1. */
function defaultChallenge({ error, resourceMetadataUrl, scope }: Refusal): string {
  const parameters = { error, scope, resource_metadata: resourceMetadataUrl }
  return `Bearer ${Object.entries(parameters)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${value}"`)
    .join(', ')}`
}

/**
 * An MCP server on the official SDK that checks its tokens for real. Tools: see `mcp-handler.ts`.
 * Also behind the token: `GET <path>/page` (HTML, says who you are) and `GET <path>/sse` (event stream).
 */
export async function startMcpServer(options: McpServerOptions): Promise<McpServer> {
  const { path = '/mcp', requiredScopes = ['mcp:read'], metadataAt = ['path', 'root'] } = options
  const server = await listen(options.port)
  const origin = server.url
  const url = origin + path
  const resource = options.resource ?? url
  const revoked = new Set<string>()
  const streams = new Set<Response>()
  const resourceMetadataUrl =
    metadataAt[0] === 'root'
      ? `${origin}/.well-known/oauth-protected-resource`
      : `${origin}/.well-known/oauth-protected-resource${path}`

  const rules: TokenRules = {
    issuer: options.issuer,
    resource,
    clock: options.clock ?? Date.now,
    ...(options.tokenType !== undefined && { typ: options.tokenType }),
    keys: options.jwks
      ? createLocalJWKSet(options.jwks)
      : createRemoteJWKSet(new URL(`${options.issuer.replace(/\/$/, '')}/jwks`)),
  }
  const challenge =
    options.challenge ??
    ((refusal: Refusal) =>
      defaultChallenge(
        refusal.status === 401 && !options.challengeWithScope ? { ...refusal, scope: undefined } : refusal,
      ))

  const handle: McpServer = Object.assign(server, {
    url,
    origin,
    resource,
    metadata: options.metadata ?? {},
    challenge,
    rejectAll: false,
    revoke: (token: string) => void revoked.add(token),
    revokeSeen: () => server.requests.forEach((it) => revoked.add(bearerToken(it.authorization) ?? '')),
    sendEvent: (data: string) => streams.forEach((it) => it.write(`data: ${data}\n\n`)),
    endEvents: () => streams.forEach((it) => it.end()),
  })

  function refuse(res: Response, status: 401 | 403, error: Refusal['error'], scopes: string[]) {
    const scope = scopes.length > 0 ? scopes.join(' ') : undefined
    const value = handle.challenge({ status, error, resourceMetadataUrl, scope })
    if (value !== undefined) res.setHeader('www-authenticate', value)
    res.status(status).json({ error: error ?? 'unauthorized' })
  }

  async function authenticate(req: Request, res: Response, next: NextFunction) {
    if (options.requireAuth === false) return next()
    const token = bearerToken(req.headers.authorization)
    if (token === undefined) return refuse(res, 401, undefined, requiredScopes)
    const checked = handle.rejectAll || revoked.has(token) ? undefined : await checkToken(token, rules)
    if (!checked) return refuse(res, 401, 'invalid_token', requiredScopes)
    const needed = [...requiredScopes, ...toolScopesOf(req.body, options.toolScopes)]
    if (!needed.every((scope) => checked.scopes.includes(scope))) {
      return refuse(res, 403, 'insufficient_scope', needed)
    }
    Object.assign(req, { auth: checked })
    next()
  }

  const app = express()
  const wellKnown = '/.well-known/oauth-protected-resource'
  app.get(
    metadataAt.map((it) => (it === 'root' ? wellKnown : wellKnown + path)),
    (_req, res) => {
      res.json({
        resource,
        authorization_servers: [options.issuer],
        scopes_supported: options.scopesSupported ?? ['mcp:read', 'mcp:write'],
        bearer_methods_supported: ['header'],
        ...handle.metadata,
      })
    },
  )
  app.get(`${path}/page`, authenticate, (req, res) => {
    const name = subjectOf(req) ?? 'nobody'
    res.set(PAGE_HEADERS).send(
      page(
        'A page of the MCP server',
        html`<h1>You are ${name}</h1>
          <p>This page is behind the MCP server's token.</p>`,
      ),
    )
  })
  app.get(`${path}/sse`, authenticate, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    res.write('data: hello\n\n')
    streams.add(res)
    res.once('close', () => streams.delete(res))
  })
  app.all(path, express.json({ limit: '5mb' }), authenticate, mcpHandler(options))
  server.serve(app)
  return handle
}

function bearerToken(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
}

function subjectOf(req: Request): string | undefined {
  return (req as Request & { auth?: CheckedToken }).auth?.extra.subject
}

function toolScopesOf(body: unknown, scopes: McpServerOptions['toolScopes'] = {}): string[] {
  const messages = [body ?? []].flat() as { method?: string; params?: { name?: Tool } }[]
  return messages.flatMap(({ method, params }) =>
    method === 'tools/call' && params?.name ? (scopes[params.name] ?? []) : [],
  )
}
