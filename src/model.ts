/** A private key as a JSON object (RFC 7517 §4). */
export interface PrivateJwk {
  readonly kty: string
  /** The signature algorithm, such as `ES256` or `PS256`. */
  readonly alg: string
  readonly kid?: string
  readonly [member: string]: unknown
}

/** An MCP server (the protected resource), as declared in `servers` or met through its challenge. */
export interface Server {
  /** Its key in `servers`; for an undeclared server, its resource identifier. */
  readonly name: string
  /** The MCP endpoint's URL, as declared. */
  readonly url: string
  /** The gateway path whose requests go to it, decoded, in lower case and without a trailing slash; undefined for an undeclared server. */
  readonly path: string | undefined
  readonly declared: boolean
  readonly oauth: ServerOAuth
}

/** A server's resolved `oauthConfig`. */
export interface ServerOAuth {
  readonly authorizationUrl?: string
  readonly tokenUrl?: string
  readonly registrationUrl?: string
  readonly issuer?: string
  readonly clientId?: string
  readonly clientSecret?: string
  /** The private key of `private_key_jwt` (RFC 7523 §2.2). */
  readonly clientPrivateKey?: PrivateJwk
  /** Space-separated, as in RFC 6749 §3.3. */
  readonly scopes?: string
  /** Undefined: true. */
  readonly offlineAccess?: boolean
  readonly tokenEndpointAuthMethod?: TokenEndpointAuthMethod | 'private_key_jwt'
  readonly initialAccessToken?: string | (() => string | Promise<string>)
  readonly softwareStatement?: string
  readonly clientMetadata: Readonly<Record<string, unknown>>
  /** The RFC 8707 resource to send; false sends none. Undefined: what the metadata says. */
  readonly resource?: string | false
  readonly authorizationParams: Readonly<Record<string, string>>
  readonly dynamicRegistration?: boolean
  /** Undefined: true, of a declared server. */
  readonly defaultEndpoints?: boolean
  readonly allowMissingPkceMetadata?: boolean
  readonly strictResource: boolean
}

/** A parsed `WWW-Authenticate: Bearer` challenge (RFC 6750 §3, RFC 9728 §5.1). */
export interface Challenge {
  readonly resourceMetadata?: string
  /** More of them: a repeated parameter is illegal but occurs, and each is tried (SPEC 2). */
  readonly otherResourceMetadata?: readonly string[]
  readonly scope?: string
  readonly error?: string
  readonly errorDescription?: string
}

/**
 * Authorization server metadata, checked (RFC 8414 §2): the fields that are used, by their RFC names.
 * It is what a pending flow and a connection remember, so that they need no second discovery.
 */
export interface AuthorizationServerMetadata {
  readonly issuer: string
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly registration_endpoint?: string
  readonly revocation_endpoint?: string
  readonly scopes_supported?: readonly string[]
  readonly token_endpoint_auth_methods_supported?: readonly string[]
  readonly code_challenge_methods_supported?: readonly string[]
  readonly authorization_response_iss_parameter_supported?: boolean
  readonly client_id_metadata_document_supported?: boolean
}

/** What discovery found for one MCP server. */
export interface Discovered {
  /** The RFC 8707 resource: the metadata's own string verbatim, or the server's URL where there is no metadata. */
  readonly resource: string
  readonly scopesSupported?: readonly string[]
  readonly authorizationServer: AuthorizationServerMetadata
}

/** How a client came to be: SPEC item 15, in order of precedence. */
export type ClientSource = 'static' | 'metadata_document' | 'dynamic'

/** Client authentication at the token endpoint (RFC 7591 §2, RFC 6749 §2.3) that a dynamic client may have. */
export type TokenEndpointAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post'

/** Our client at one issuer, whatever its source: what a token request needs. */
export interface OAuthClient {
  readonly source: ClientSource
  readonly clientId: string
  readonly clientSecret?: string
  readonly clientPrivateKey?: PrivateJwk
  readonly tokenEndpointAuthMethod: TokenEndpointAuthMethod | 'private_key_jwt'
  /** What it may ask for, as its server registered it; undefined where that is not said. */
  readonly scope?: string
}

/**
 * A dynamic registration (RFC 7591) at one issuer, for one MCP server and redirect URI. Kept in
 * `oauth_client_registrations`. `registering` is the durable marker that is written before the request;
 * `configured` remembers the issuer at which a client was first used that is configured without one.
 */
export interface Registration {
  readonly status: 'registering' | 'registered' | 'configured'
  readonly server: string
  readonly serverUrl: string
  readonly issuer: string
  readonly redirectUri: string
  /** Epoch milliseconds. */
  readonly createdAt: number
  /** The scope that was asked for. */
  readonly scope?: string
  /** The scope that the server registered, where it said one (RFC 7591 §3.2.1). */
  readonly registeredScope?: string
  /**
   * The client metadata that was asked for (RFC 7591 §2): a change of it is noticed, and replaces it (RFC 7592
   * §2.2). Of a software statement it holds a digest.
   */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** The member of it that the server refused to hear of. */
  readonly leftOut?: string | undefined
  /** What the server made of members of it, where that is something else (RFC 7591 §3.2.1); null where it said nothing. */
  readonly substituted?: Readonly<Record<string, unknown>>
  readonly clientId?: string
  /** Sealed at rest. */
  readonly clientSecret?: string | undefined
  readonly tokenEndpointAuthMethod?: TokenEndpointAuthMethod
  /** Epoch seconds (RFC 7591 §3.2.1). */
  readonly clientIdIssuedAt?: number
  /** Epoch seconds; 0 is never (RFC 7591 §3.2.1). */
  readonly clientSecretExpiresAt?: number | undefined
  /** When this secret came, or its expiry was put off last, in epoch milliseconds. */
  readonly clientSecretObtainedAt?: number
  /** The redirect URIs for which it was registered before, the newest last. */
  readonly movedFrom?: readonly string[]
  /** When it was last tried to renew the secret, which is due still, in epoch milliseconds. */
  readonly renewalTriedAt?: number | undefined
  /** When an attempt to replace this registration was cut off, in epoch milliseconds: its issuer may hold a client that nobody uses. */
  readonly cutOffAt?: number | undefined
  /** Sealed at rest (RFC 7592 §3). */
  readonly registrationAccessToken?: string
  readonly registrationClientUri?: string
}

/** One user's tokens for one MCP server. Kept in `oauth_tokens`. */
export interface Connection {
  readonly user: string
  readonly server: string
  /** The declared URL when the person connected: a token only goes to the server it was issued for. */
  readonly serverUrl: string
  readonly status: 'connected' | 'needs_authorization'
  /** Why it needs authorization: an error code. */
  readonly reason?: string
  readonly resource?: string
  readonly clientSource: ClientSource
  readonly clientId: string
  readonly redirectUri: string
  readonly authorizationServer: AuthorizationServerMetadata
  /** Sealed at rest. Absent once the connection needs authorization. */
  readonly accessToken?: string
  /** Sealed at rest. */
  readonly refreshToken?: string
  /** Epoch milliseconds; undefined where the server did not say. */
  readonly expiresAt?: number
  /** What was granted. */
  readonly scope?: string
  /** What was asked for, all authorizations together (SPEC 39). */
  readonly requestedScope?: string
  /** What step-ups asked for and were refused, each space-separated; gone once the person signs in of their own accord (SPEC 40). */
  readonly refusedScopes?: readonly string[]
  readonly obtainedBy: 'authorization' | 'refresh'
  /** When the access token was obtained, in epoch milliseconds. */
  readonly obtainedAt: number
  /** When the person last signed in, in epoch milliseconds. */
  readonly connectedAt: number
}

/** An authorization request under way: it lives in the browser's sealed cookie, nowhere else. */
export interface PendingFlow {
  readonly state: string
  readonly codeVerifier: string
  readonly user: string
  readonly server: string
  readonly serverUrl: string
  readonly redirectUri: string
  readonly authorizationServer: AuthorizationServerMetadata
  readonly clientSource: ClientSource
  readonly clientId: string
  readonly resource?: string
  readonly scope?: string
  /** What was wanted, where the client may not ask for all of it. */
  readonly requestedScope?: string
  /** At a step-up, what its challenge asked for beyond what the token has. */
  readonly demandedScope?: string
  /** A path and query on the gateway; undefined ends on the "connected" page. */
  readonly returnTo?: string
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** Where the library reports. Messages never contain a secret. */
export interface Logger {
  debug(message: string, details?: object): void
  info(message: string, details?: object): void
  warn(message: string, details?: object): void
  error(message: string, details?: object): void
}
