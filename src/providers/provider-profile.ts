/**
 * What is known of one kind of authorization server beyond what its metadata says. It is data: the flow reads
 * it and names no provider. A server's own `oauthConfig` always wins over it.
 *
 * Texts (`steps`, `obtain`, `hint`) may hold `{redirectUri}` and `{baseUrl}`, the gateway's callback URL and
 * its public URL.
 */
export interface ProviderProfile {
  /** A string: what messages call the provider. Required. */
  readonly name: string
  /**
   * A list of strings, one at least: whose issuer identifiers (RFC 8414 §2) these are. Each is a URL (without a
   * path every issuer of that origin, with one that issuer alone), or, where customers have issuers of their
   * own, a host with `*`: `*.example.com` is every host below example.com, `id.*.example.com` has any one
   * label there, `*` alone is any host. A host may be followed by the end of the path, in which `*` is one
   * segment: `id.example.com/tenants/*`. Required.
   */
  readonly issuers: readonly string[]
  /**
   * A list of URLs, as in `issuers` but without `*`: issuers that the metadata of `issuers` may name although
   * they are not what was asked for, which RFC 8414 §3.3 forbids. `issuers` must then have no `*` either: of
   * all customers of a provider one could speak for another. Defaults to none.
   */
  readonly metadataIssuers?: readonly string[]
  /**
   * A string, `/…` or `{path}/…` with the issuer's path: where on the issuer's origin the metadata is looked
   * for first; the places of RFC 8414 §3.1 and OpenID Connect Discovery §4 come after it. Defaults to those alone.
   */
  readonly metadataPath?: string
  /**
   * A string, `/…`: the registration endpoint (RFC 7591 §3) on the issuer's origin, where the metadata names
   * none. Defaults to none.
   */
  readonly registrationPath?: string
  /**
   * A boolean: it supports PKCE with S256, but its metadata does not say so (RFC 8414 §2,
   * `code_challenge_methods_supported`), where MCP clients have to refuse. Defaults to false.
   */
  readonly allowMissingPkceMetadata?: boolean
  /**
   * A boolean, false: it has no dynamic client registration (RFC 7591), also where a registration endpoint is
   * named or guessed; `manualRegistration` is the answer. `oauthConfig.dynamicRegistration: true` or a
   * `registrationUrl` tries it all the same. Defaults to what the metadata says.
   */
  readonly dynamicRegistration?: false
  /**
   * Whether registration needs an initial access token (RFC 7591 §1.2 and §3), and a sentence that says how
   * one is obtained. Defaults to none: registration is open.
   */
  readonly initialAccessToken?: { readonly required: boolean; readonly obtain: string }
  /**
   * How an app is registered by hand (SPEC 15): a list of sentences without their numbers, and the URL of the
   * provider's own page. Defaults to what holds for any provider.
   */
  readonly manualRegistration?: { readonly steps: readonly string[]; readonly documentation: string }
  /**
   * `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3.1): how a configured client authenticates
   * where neither `oauthConfig` nor the metadata says. Defaults to `client_secret_basic` (RFC 8414 §2).
   */
  readonly tokenEndpointAuthMethod?: 'client_secret_basic' | 'client_secret_post'
  /**
   * A record of strings: more parameters of the authorization request (RFC 6749 §4.1.1), instead of the
   * `prompt=consent` that OpenID Connect Core §11 wants with `offline_access`, if they have a `prompt`.
   * `{resource}` in a value is the resource (RFC 8707); without one the parameter is left out. Defaults to none.
   */
  readonly authorizationParams?: Readonly<Record<string, string>>
  /**
   * A URI, or false: the `resource` parameter (RFC 8707 §2), or that none is sent. Defaults to the resource
   * metadata's own identifier.
   */
  readonly resource?: string | false
  /**
   * What to do about a refused registration (RFC 7591 §3.2.2) or a failed sign-in (RFC 6749 §4.1.2.1): a hint,
   * a sentence, for an answer that `says` this, whatever the case; the answer is the HTTP status
   * (`status 403`), error code and description. Without `says` it is the hint for a registration that is not
   * offered, or refused in another way. The first that fits is shown. Defaults to none.
   */
  readonly refusals?: readonly { readonly says?: string; readonly hint: string }[]
}
