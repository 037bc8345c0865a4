import { auth as authV2 } from '@modelcontextprotocol/client'
import {
  auth as authV1,
  extractWWWAuthenticateParams,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
} from '@modelcontextprotocol/sdk/client/auth.js'
import type { OAuthClientInformationMixed, OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js'
import type { RequestHandler } from 'express'
import { connectionOf, userAt } from '../fixtures.js'
import { askUpstream, passOn } from './relay.js'

export interface SdkSetting {
  readonly sdk: 'v1' | 'v2'
  /**
   * Whose a registration and what was discovered are: each user's, as in the SDK's own examples, or everybody's,
   * as a careful author would have it.
   */
  readonly kept: 'for each user' | 'for all'
}

/** What an author who uses the SDK's `auth()` has to keep; in memory, which is the fastest. */
interface Kept {
  client?: OAuthClientInformationMixed
  discovery?: OAuthDiscoveryState
}

type Provider = OAuthClientProvider & { location: string }

const AUTH = { v1: authV1, v2: authV2 }

/** Relays by `fetch`, and on a 401 does what the SDK's transport does: `auth()` with a provider of this request. */
export function sdkHandler(
  { sdk, kept: scope }: SdkSetting,
  upstream: string,
  baseUrl: string,
  users: number,
): RequestHandler {
  const auth = AUTH[sdk]
  // It reports each refused refresh there, and would be measured by how fast that is read.
  console.warn = () => undefined
  const keptFor = new Map<string, Kept>()
  const tokensOf = new Map<string, OAuthTokens>()
  const redirectUri = `${baseUrl}/callback`
  for (let n = 0; n < users; n++) {
    const connection = connectionOf(userAt(n), { upstream, redirectUri }, true)
    const { user, accessToken = '', refreshToken } = connection
    tokensOf.set(user, {
      access_token: accessToken,
      refresh_token: refreshToken,
      token_type: 'Bearer',
      issuer: upstream,
    })
    keptFor.set(scope === 'for all' ? '' : user, {
      client: { client_id: connection.clientId, redirect_uris: [redirectUri], issuer: upstream },
    })
  }

  return async (req, res) => {
    const user = req.get('x-user') ?? ''
    const bearer = (): string | undefined => {
      const token = tokensOf.get(user)?.access_token
      return token === undefined ? undefined : `Bearer ${token}`
    }
    let answer = await askUpstream(upstream, bearer())
    if (answer.status === 401) {
      await answer.body?.cancel()
      const provider = createProvider(keptOf(user), tokensOf, user, redirectUri)
      const { resourceMetadataUrl } = extractWWWAuthenticateParams(answer)
      const options = resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }
      const result = await auth(provider, { serverUrl: `${upstream}/mcp`, ...options })
      if (result === 'REDIRECT') return res.redirect(provider.location)
      answer = await askUpstream(upstream, bearer())
    }
    await passOn(answer, res)
  }

  function keptOf(user: string): Kept {
    const name = scope === 'for all' ? '' : user
    const kept = keptFor.get(name) ?? {}
    keptFor.set(name, kept)
    return kept
  }
}

function createProvider(
  kept: Kept,
  tokensOf: Map<string, OAuthTokens>,
  user: string,
  redirectUrl: string,
): Provider {
  let verifier = ''
  return {
    location: '',
    redirectUrl,
    clientMetadata: {
      client_name: 'Benchmark',
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    state: () => crypto.randomUUID(),
    clientInformation: () => kept.client,
    saveClientInformation(client) {
      kept.client = client
    },
    tokens: () => tokensOf.get(user),
    saveTokens(tokens) {
      tokensOf.set(user, tokens)
    },
    redirectToAuthorization(url) {
      this.location = url.href
    },
    saveCodeVerifier(it) {
      verifier = it
    },
    codeVerifier: () => verifier,
    invalidateCredentials(what) {
      if (what === 'tokens' || what === 'all') tokensOf.delete(user)
      if (what === 'client' || what === 'all') delete kept.client
    },
    saveDiscoveryState(state) {
      kept.discovery = state
    },
    discoveryState: () => kept.discovery,
  }
}
