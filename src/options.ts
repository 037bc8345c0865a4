import type { Request } from 'express'
import type { Elicitation } from './errors.js'
import type { Logger, PrivateJwk, Server } from './model.js'
import type { OnEvent } from './oauth/events.js'
import type { ProviderProfile } from './providers/provider-profile.js'
import type { CredentialStore } from './store/contract.js'

/** One MCP server's OAuth settings. Everything is optional: what is absent is discovered. */
export interface OAuthConfig {
  /** The authorization endpoint. Defaults to the discovered one. */
  authorizationUrl?: string
  /** The token endpoint. Defaults to the discovered one. */
  tokenUrl?: string
  /** Scopes to ask for where neither the challenge nor the resource metadata names any, as one space-separated string or a list. Defaults to none. */
  scopes?: string | string[]
  /** Whether to ask for `offline_access` where the authorization server lists it: with it a sign-in lasts; some servers give it to certain people alone, and refuse the rest. Defaults to true. */
  offlineAccess?: boolean
  /** A client registered by hand. It always wins over registration. Defaults to none: the client is registered dynamically. */
  clientId?: string
  /** The secret of `clientId`. Defaults to none: a public client. */
  clientSecret?: string
  /** The private key (a JWK with `alg`) by which `clientId` authenticates where the provider takes signed assertions (`private_key_jwt`, RFC 7523). Defaults to none. */
  clientPrivateKey?: PrivateJwk
  /** Pins the authorization server's issuer identifier (RFC 8414 §2), for a provider whose metadata names another. Defaults to the one the resource metadata names. */
  issuer?: string
  /** The registration endpoint (RFC 7591 §3). Defaults to the discovered one. */
  registrationUrl?: string
  /** Sent as Bearer token with the registration request (RFC 7591 §3), or a function that returns it. Defaults to none. */
  initialAccessToken?: string | (() => string | Promise<string>)
  /** Sent in the registration request (RFC 7591 §2.3). Defaults to none. */
  softwareStatement?: string
  /** How `clientId` authenticates at the token endpoint: `none`, `client_secret_basic`, `client_secret_post`, or `private_key_jwt` with its `clientPrivateKey`; for a dynamic client, what to ask for. Defaults to the first of these that the server supports and the configuration allows. */
  tokenEndpointAuthMethod?: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  /** The `resource` parameter (RFC 8707); `false` omits it, for a provider that refuses it. Defaults to what the provider's profile or the metadata says. */
  resource?: string | false
  /** More parameters of the authorization request, such as `audience`. Those that the flow itself sets are refused. Defaults to those of the provider's profile. */
  authorizationParams?: Record<string, string>
  /** More fields of the registration request (RFC 7591 §2), such as `contacts`. Defaults to none. */
  clientMetadata?: Record<string, unknown>
  /** Whether a client may be registered dynamically (RFC 7591): false never does, also where a registration endpoint is offered; true does also where the provider's profile says that there is none. Defaults to what the metadata and the profile say. */
  dynamicRegistration?: boolean
  /** Whether a server without any metadata has the endpoints that MCP 2025-03-26 prescribed: `/authorize`, `/token` and `/register` on its origin. Defaults to true. */
  defaultEndpoints?: boolean
  /** Goes on where the metadata does not state PKCE support, for a provider that supports it silently. Defaults to false, unless the provider's profile says so. */
  dangerouslyAllowMissingPkceMetadata?: boolean
  /** Accepts resource metadata only if its `resource` equals the server's URL exactly (RFC 9728 §3.3). Defaults to false: the same origin and a path prefix will do. */
  strictResource?: boolean
}

/** One MCP server. */
export interface ServerOptions {
  /** The MCP endpoint's URL: https, or http on loopback. */
  url: string
  /** The gateway path whose requests go to this server. Defaults to `/mcp/<name>`. */
  path?: string
  /** OAuth settings. Defaults to none: everything is discovered. */
  oauthConfig?: OAuthConfig
}

/** The servers by name; a string is the MCP endpoint's URL. */
export type Servers = Record<string, string | ServerOptions>

/** Options of `mcpDcr()`. */
export interface Options {
  /** The gateway's public URL; the redirect URI is `<baseUrl>/api/oauth/callback`. Defaults to `http://localhost:<the port that the request came in on>`. */
  baseUrl?: string
  /** The MCP servers, or a function of the request that returns them; one object is looked at once, so return another where they change. Defaults to the `mcpServers` of `mcp.json` in the working directory, where there is one. */
  servers?: Servers | ((req: Request) => Servers | Promise<Servers>)
  /** The signed-in user's stable id, or undefined if nobody is signed in. Defaults to one local user, allowed only while `baseUrl` is loopback. */
  user?: (req: Request) => string | undefined | Promise<string | undefined>
  /** Called where a person has to sign in, whoever asks: answers in the gateway's own way, or returns undefined. Defaults to an answer in the form that the caller understands. */
  onAuthorizationRequired?: (
    req: Request,
    details: AuthorizationRequiredDetails,
  ) => OwnAnswer | undefined | Promise<OwnAnswer | undefined>
  /** Told, once a person has signed in, of each MCP client that was asked to open a URL for that (2025-11-25): whoever has its session can send it `notifications/elicitation/complete`. Defaults to nobody. */
  onElicitationComplete?: (details: ElicitationCompleteDetails) => void | Promise<void>
  /** How long the repeated request of an MCP client that was asked to sign in (2026-07-28) waits for the person before the client is asked again, in milliseconds; 0: not at all. Defaults to 25000. */
  elicitationWait?: number
  /** Who may list and manage the registrations under `/api/oauth/registrations`. Defaults to nobody: these routes are not there. */
  admin?: (req: Request) => boolean | Promise<boolean>
  /** The name that authorization servers show when they ask for consent. Defaults to `MCP Gateway`. */
  clientName?: string
  /** An https URL of a client metadata document hosted elsewhere (CIMD). Defaults to `<baseUrl>/api/oauth/client.json` where `baseUrl` is https. */
  clientMetadataUrl?: string
  /** One or more encryption keys of 32 characters or more, newest first. Defaults to `OAUTH_ENCRYPTION_KEY`, several separated by commas, or else, on loopback, a generated key file beside the store. */
  encryptionKey?: string | string[]
  /** The path of the JSON file store, or another store. Defaults to `.mcp-dcr/store.json` in the working directory. */
  store?: string | CredentialStore
  /** Hosts, IP addresses or CIDR ranges that metadata may lead to although they are private. Defaults to none. */
  allowPrivateNetworks?: string[]
  /** The issuers that may sign people in: issuer identifiers, origins for all issuers there, or hosts such as `*.example.com`. Metadata that leads to another is refused. Defaults to all. */
  trust?: string[]
  /** Profiles of providers, tried before the built-in ones. Defaults to none. */
  providers?: readonly ProviderProfile[]
  /** How long one request to an authorization server or for metadata may take, in milliseconds. Defaults to 10000. */
  timeout?: number
  /** Told of every change of a connection or a registration, once it is stored; nobody waits for it, and what it throws or rejects with is logged. Defaults to nothing. */
  onEvent?: OnEvent
  /** Where to report. Defaults to warnings and errors on the console. */
  logger?: Partial<Logger>
  /** The current time in epoch milliseconds. Defaults to `Date.now`. */
  clock?: () => number
}

/** What {@link Options.onAuthorizationRequired} is told. */
export interface AuthorizationRequiredDetails {
  /** The MCP server's name. */
  readonly server: string
  readonly user: string
  /** The absolute URL at which this person can sign in. It carries nothing secret. */
  readonly authorizationUrl: string
  /** A sentence that says so. */
  readonly message: string
  /** For `new UrlElicitationRequiredError(elicitations)` of the MCP SDK. Who takes them is understood to ask, and `onElicitationComplete` is told once that is done. */
  readonly elicitations: readonly Elicitation[]
}

/** What {@link Options.onAuthorizationRequired} may answer. */
export interface OwnAnswer {
  status: number
  headers?: Record<string, string | string[]>
  /** A string as it is, or an object as JSON. */
  body?: string | object
}

/** What {@link Options.onElicitationComplete} is told. */
export interface ElicitationCompleteDetails {
  readonly server: string
  readonly user: string
  readonly elicitationId: string
  /** The `Mcp-Session-Id` of the request that was answered; undefined where it had none. */
  readonly sessionId: string | undefined
}

/** {@link Options}, resolved, checked and frozen. Nothing else reads raw options or the environment. */
export interface Config {
  /** Without a trailing slash; undefined: `http://localhost:<port>` of each request. */
  readonly baseUrl: string | undefined
  /** Whether the gateway is reached through loopback alone. */
  readonly local: boolean
  /** The servers, where they do not depend on the request. Undefined: see `serversOf`. */
  readonly servers: readonly Server[] | undefined
  /** The servers of one request. */
  readonly serversOf: (req: Request) => readonly Server[] | Promise<readonly Server[]>
  /** Whether servers that nobody declared are served from their challenge: no `servers` option, no `mcp.json`. */
  readonly undeclared: boolean
  /** Undefined: one local user. */
  readonly user: Options['user']
  readonly onAuthorizationRequired: Options['onAuthorizationRequired']
  readonly onElicitationComplete: Options['onElicitationComplete']
  /** Milliseconds. */
  readonly elicitationWait: number
  /** Undefined: the routes that manage registrations are not there. */
  readonly admin: Options['admin']
  readonly clientName: string
  readonly clientMetadataUrl: string | undefined
  /** The keys as given, newest first; undefined: the key file beside the store. */
  readonly encryptionKeys: readonly string[] | undefined
  /** An absolute path, or a store. */
  readonly store: string | CredentialStore
  readonly allowPrivateNetworks: readonly string[]
  /** Undefined: all. */
  readonly trust: readonly string[] | undefined
  /** Those of the option, then the built-in ones. */
  readonly providers: readonly ProviderProfile[]
  /** Milliseconds. */
  readonly timeout: number
  readonly onEvent: OnEvent | undefined
  readonly logger: Logger
  readonly clock: () => number
}
