/** What an error code means on the wire: its HTTP status and a title for people. */
interface ErrorKind {
  readonly status: number
  readonly title: string
}

/**
 * Every error that mcp-dcr raises carries one of these codes. A code is stable: each has a section of
 * the same name in docs/troubleshooting.md with its cause and its fix.
 */
export const ERROR_KINDS = {
  // Start-up
  invalid_options: { status: 500, title: 'Invalid options' },
  invalid_mcp_json: { status: 500, title: 'mcp.json cannot be used' },
  user_option_required: { status: 500, title: 'The user option is required' },
  encryption_key_missing: { status: 500, title: 'OAUTH_ENCRYPTION_KEY is required' },
  encryption_key_invalid: { status: 500, title: 'The encryption key cannot be used' },
  encryption_key_mismatch: { status: 500, title: 'The store was sealed with another key' },
  store_locked: { status: 500, title: 'Another process uses the store' },
  store_corrupt: { status: 500, title: 'The store file is damaged' },
  store_unavailable: { status: 503, title: 'The store cannot be used' },
  store_write_failed: { status: 503, title: 'The store could not be written' },

  // Outgoing requests
  insecure_url: { status: 502, title: 'A URL is not allowed' },
  blocked_address: { status: 502, title: 'A network address is not allowed' },
  request_failed: { status: 502, title: 'A server could not be reached' },
  request_timeout: { status: 504, title: 'A server took too long' },
  response_too_large: { status: 502, title: 'A server sent too much' },
  redirect_refused: { status: 502, title: 'A server redirected' },

  // Discovery
  discovery_failed: { status: 502, title: 'Authorization server not found' },
  metadata_invalid: { status: 502, title: 'Metadata cannot be used' },
  resource_mismatch: { status: 502, title: 'The metadata is for another resource' },
  issuer_not_trusted: { status: 502, title: 'The issuer is not trusted' },
  issuer_mismatch: { status: 502, title: 'The issuer does not match' },
  pkce_not_supported: { status: 502, title: 'PKCE is not supported' },

  // Registration
  registration_endpoint_not_found: { status: 502, title: 'Registration endpoint not found' },
  registration_failed: { status: 502, title: 'Registration failed' },
  invalid_redirect_uri: { status: 502, title: 'Invalid redirect_uri' },
  invalid_client_metadata: { status: 502, title: 'Client metadata was refused' },
  invalid_software_statement: { status: 502, title: 'The software statement is invalid' },
  unapproved_software_statement: { status: 502, title: 'The software statement is not approved' },
  registration_not_found: { status: 404, title: 'Unknown registration' },
  registration_gone: { status: 410, title: 'The registration is gone' },
  management_not_supported: { status: 409, title: 'The registration cannot be managed' },
  management_failed: { status: 502, title: 'The registration could not be managed' },
  registration_response_invalid: { status: 502, title: 'The registration answer cannot be used' },

  // Authorization
  authorization_required: { status: 401, title: 'Sign-in required' },
  user_required: { status: 401, title: 'Sign in to the gateway first' },
  user_mismatch: { status: 403, title: 'Another user started this sign-in' },
  unknown_server: { status: 404, title: 'Unknown MCP server' },
  invalid_request: { status: 400, title: 'The request cannot be used' },
  admin_required: { status: 403, title: 'Not allowed' },
  cross_site_request: { status: 403, title: 'Another site sent this request' },
  not_found: { status: 404, title: 'Not found' },
  flow_not_found: { status: 400, title: 'This sign-in is not known here' },
  flow_expired: { status: 400, title: 'This sign-in has expired' },
  access_denied: { status: 403, title: 'Access was denied' },
  authorization_failed: { status: 502, title: 'The sign-in failed' },

  // Tokens
  token_request_failed: { status: 502, title: 'The token request failed' },
  token_response_invalid: { status: 502, title: 'The token answer cannot be used' },
  client_invalid: { status: 502, title: 'The client is not accepted any more' },
  nothing_to_refresh: { status: 409, title: 'There is nothing to refresh' },
  refresh_failed: { status: 503, title: 'The connection could not be refreshed' },
  token_rejected: { status: 502, title: 'The MCP server rejects its own token' },
  token_renewed: { status: 503, title: 'The token was renewed' },
  insufficient_scope: { status: 403, title: 'The connection has too little scope' },
  token_not_sent: { status: 502, title: 'The route does not send the token' },

  internal_error: { status: 500, title: 'Internal error' },
} as const satisfies Record<string, ErrorKind>

/** A stable error code; see docs/troubleshooting.md. */
export type ErrorCode = keyof typeof ERROR_KINDS

/** What {@link McpDcrError} can be told beside its code and message. */
export interface McpDcrErrorDetails {
  /** What to do about it, in one or two sentences for the person who reads it. */
  fix?: string
  /** The underlying error. Logged, never sent to a client. */
  cause?: unknown
  /** The MCP server's name, where one is concerned. */
  server?: string
  /** The absolute URL at which a person can sign in (`authorization_required` alone). */
  authorizationUrl?: string
}

/**
 * The error class; there is one more below it, {@link AuthorizationRequiredError}. `message` and `fix` are safe to show: they never contain a secret, and text that
 * a remote server supplied has passed through {@link quoteUntrusted}.
 */
export class McpDcrError extends Error {
  override readonly name: string = 'McpDcrError'
  readonly code: ErrorCode
  /** The HTTP status with which a client is answered. */
  readonly status: number
  readonly fix: string | undefined
  readonly server: string | undefined
  readonly authorizationUrl: string | undefined

  constructor(code: ErrorCode, message: string, details: McpDcrErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.status = ERROR_KINDS[code].status
    this.fix = details.fix
    this.server = details.server
    this.authorizationUrl = details.authorizationUrl
  }
}

/** A URL that a person has to visit, in the form of MCP's URL elicitation. */
export interface Elicitation {
  readonly mode: 'url'
  readonly elicitationId: string
  readonly url: string
  readonly message: string
}

/**
 * What a request needs before it can be served: that a person signs in to an MCP server. Its `message` says
 * where, for callers that show nothing else.
 */
export class AuthorizationRequiredError extends McpDcrError {
  readonly #elicitations: Elicitation[]
  #onTaken: ((elicitation: Elicitation) => void) | undefined

  /**
   * @param authorizationUrl undefined where the gateway's own URL is not known
   * @param onTaken told of the elicitation once somebody has taken it to show it
   */
  constructor(
    server: string,
    authorizationUrl: string | undefined,
    onTaken?: (elicitation: Elicitation) => void,
  ) {
    const wanted = `Sign in to the MCP server "${server}" first`
    super(
      'authorization_required',
      authorizationUrl === undefined ? `${wanted}.` : `${wanted}: ${authorizationUrl}`,
      {
        server,
        ...(authorizationUrl !== undefined && { authorizationUrl }),
        fix: `Open ${authorizationUrl ?? 'the gateway'} in a browser, sign in, then repeat the request.`,
      },
    )
    const message = signInMessage(server)
    const elicitationId = crypto.randomUUID()
    this.#elicitations =
      authorizationUrl === undefined ? [] : [{ mode: 'url', elicitationId, url: authorizationUrl, message }]
    this.#onTaken = onTaken
  }

  /**
   * What an MCP client can be asked for: `new UrlElicitationRequiredError(error.elicitations)` with the MCP SDK.
   * None where it is not known where to sign in. Whoever takes them is understood to ask: the
   * `onElicitationComplete` option is told once the person has signed in.
   */
  get elicitations(): Elicitation[] {
    const [elicitation] = this.#elicitations
    if (elicitation !== undefined) this.#onTaken?.(elicitation)
    this.#onTaken = undefined
    return this.#elicitations
  }
}

/** For the person who is asked to open the URL. */
export function signInMessage(server: string): string {
  return `Sign in to ${server} in your browser, then continue here.`
}

const UNTRUSTED_MAX_LENGTH = 200

/**
 * Makes text from a remote server safe for messages and logs: control characters and line breaks become
 * spaces, and it is cut after 200 characters. HTML escaping is the page's own task.
 */
export function quoteUntrusted(text: unknown): string {
  // An object from a server may have a `toString` that is no function.
  const shown = typeof text === 'string' ? text : (JSON.stringify(text) ?? typeof text)
  const printable = shown.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return printable.length > UNTRUSTED_MAX_LENGTH ? `${printable.slice(0, UNTRUSTED_MAX_LENGTH)}…` : printable
}
