import type { JWK } from 'jose'
import type { AdapterFactory, Configuration } from 'oidc-provider'
import type { AuthorizationServerOptions } from './authorization-server.js'
import { html, page, PAGE_HEADERS } from './html.js'

interface ProviderParts {
  readonly adapter: AdapterFactory
  readonly jwks: { keys: JWK[] }
  readonly interactionPath: string
  /** Browsers share cookies between the ports of one host: two authorization servers need different names. */
  readonly cookiePrefix: string
}

const DAY = 86_400

export function scopesOf({
  scopes = ['mcp:read', 'mcp:write', 'read', 'write'],
}: AuthorizationServerOptions) {
  return scopes
}

/** Sets whatever oidc-provider would print a notice about when its default is used. */
export function providerConfiguration(
  options: AuthorizationServerOptions,
  parts: ProviderParts,
): Configuration {
  const { accessTokenLifetime = 3600, refreshTokens = 'always', resources } = options
  const scopes = scopesOf(options)
  const accepts = Array.isArray(resources)
    ? (it: string) => resources.includes(it)
    : (resources ?? (() => true))

  return {
    adapter: parts.adapter,
    jwks: parts.jwks,
    clients: options.clients ?? [],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    scopes: ['openid', 'offline_access', ...scopes],
    pkce: { required: () => true },
    rotateRefreshToken: options.rotateRefreshTokens ?? true,
    issueRefreshToken: (_ctx, client, source) =>
      client.grantTypeAllowed('refresh_token') &&
      (refreshTokens === 'always' ||
        (refreshTokens === 'offline_access' && source.scopes.has('offline_access'))),
    expiresWithSession: () => false,
    features: {
      devInteractions: { enabled: false },
      registration: {
        enabled: options.registration ?? true,
        initialAccessToken: options.initialAccessToken ?? false,
      },
      registrationManagement: { enabled: options.registration ?? true, rotateRegistrationAccessToken: true },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId,
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (_ctx, resource) => {
          if (!accepts(resource)) {
            const { errors } = await import('oidc-provider')
            throw new errors.InvalidTarget()
          }
          return {
            scope: scopes.join(' '),
            audience: resource,
            accessTokenTTL: accessTokenLifetime,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'ES256' } },
          }
        },
      },
    },
    ttl: {
      AccessToken: accessTokenLifetime,
      AuthorizationCode: 600,
      ClientCredentials: accessTokenLifetime,
      Grant: 14 * DAY,
      IdToken: 3600,
      Interaction: 3600,
      RefreshToken: 14 * DAY,
      Session: 14 * DAY,
    },
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    interactions: { url: (_ctx, interaction) => `${parts.interactionPath}/${interaction.uid}` },
    cookies: {
      keys: ['only for tests'],
      names: {
        session: `${parts.cookiePrefix}_session`,
        interaction: `${parts.cookiePrefix}_interaction`,
        resume: `${parts.cookiePrefix}_resume`,
      },
    },
    clientBasedCORS: () => false,
    renderError: (ctx, out) => {
      ctx.set(PAGE_HEADERS)
      ctx.body = page(
        'Something went wrong',
        html`<h1>Something went wrong</h1>
          <p>${out.error_description ?? out.error}</p>
          <p><small>${out.error}</small></p>`,
      )
    },
  }
}
