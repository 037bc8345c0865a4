import fc from 'fast-check'
import * as openid from 'openid-client'
import { afterEach, describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { fetchAuthorizationServerMetadata } from '../../src/oauth/authorization-server-metadata.js'
import type { OAuthContext } from '../../src/oauth/context.js'
import { finishAuthorization } from '../../src/oauth/exchange.js'
import { readRegistration } from '../../src/oauth/manage-registration.js'
import { readRegisteredClient } from '../../src/oauth/registration-response.js'
import { register } from '../../src/oauth/register.js'
import { requestTokens } from '../../src/oauth/request-tokens.js'
import { findResourceMetadata } from '../../src/oauth/resource-metadata.js'
import type { Tokens } from '../../src/oauth/token-response.js'
import { unwrapError } from '../../src/oauth/unwrap-error.js'
import type { AuthorizationServerMetadata, Registration } from '../../src/model.js'
import { assertEndpointUrl, type GuardedFetch } from '../../src/security/guarded-fetch.js'
import { registrationKey } from '../../src/store/records.js'
import { hostileJson, isPolluted, MANY } from '../support/hostile-json.js'
import {
  CALLBACK,
  createOAuthContext,
  declare,
  ensureClientAt,
  flowAt,
  metadataOf,
  registrationsOf,
} from './support.js'

// What a server answers is hostile: it is read, or refused with an error of ours that a log can bear.

const ISSUER = 'https://as.example'
const SERVER = declare('https://mcp.example/mcp', { clientId: 'c1' })
const METADATA = metadataOf(ISSUER) as unknown as AuthorizationServerMetadata

afterEach(() => expect(isPolluted()).toBe(false))

/** A fetch of which every answer is this. */
function answering(text: string, status = 200, headers: Record<string, string> = {}): GuardedFetch {
  return () =>
    Promise.resolve(
      new Response(text, { status, headers: { 'content-type': 'application/json', ...headers } }),
    )
}

/** Whether an error is ours, says what to do, and is a line that a log can bear. */
function isOurs(error: unknown): boolean {
  if (!(error instanceof McpDcrError)) throw error
  // A fix may have lines of its own.
  return /^[\P{C}]{1,1200}$/u.test(error.message) && /^[\P{C}\n]{1,4000}$/u.test(error.fix ?? '')
}

/** Tries a reader with many answers: each is read as `isRight` demands, or refused. */
async function read<T>(
  answers: fc.Arbitrary<readonly [text: string, status: number]>,
  reader: (fetch: GuardedFetch) => Promise<T>,
  isRight: (value: T) => boolean,
): Promise<void> {
  const results = { read: 0, refused: 0 }
  await fc.assert(
    fc.asyncProperty(answers, async ([text, status]) => {
      try {
        const value = await reader(answering(text, status))
        results.read++
        return isRight(value)
      } catch (error) {
        results.refused++
        return isOurs(error)
      }
    }),
    MANY,
  )
  // Neither is what happens always: the cases tell something.
  expect(Math.min(results.read, results.refused)).toBeGreaterThan(500)
}

const withStatus = (texts: fc.Arbitrary<string>, ...statuses: number[]) =>
  fc.tuple(texts, fc.constantFrom(...statuses))

function isEndpoint(url: string | undefined): boolean {
  return url === undefined || assertEndpointUrl(url, 'endpoint').href === url
}

const isStrings = (list: readonly unknown[] | undefined): boolean =>
  list === undefined || list.every((item) => typeof item === 'string')

describe('10,000 hostile answers are read or refused', { timeout: 120_000 }, () => {
  it('as resource metadata', async () => {
    const document = {
      resource: SERVER.url,
      authorization_servers: [ISSUER],
      scopes_supported: ['read'],
      resource_name: 'Notes',
    }
    await read(
      withStatus(hostileJson(document), 200, 200, 200, 404),
      (fetch) =>
        findResourceMetadata(SERVER, { resourceMetadata: 'https://mcp.example/prm' }, fetch, 'public'),
      (metadata) =>
        metadata !== undefined &&
        new URL(metadata.resource).origin === 'https://mcp.example' &&
        isStrings(metadata.authorizationServers) &&
        isStrings(metadata.scopesSupported),
    )
  })

  it('as authorization server metadata', async () => {
    const lookup = {
      issuer: ISSUER,
      pinnedIssuer: undefined,
      allowMissingPkceMetadata: false,
      provider: undefined,
    }
    await read(
      withStatus(hostileJson({ ...metadataOf(ISSUER), revocation_endpoint: `${ISSUER}/revoke` }), 200),
      (fetch) => fetchAuthorizationServerMetadata(lookup, fetch, 'public'),
      (metadata) =>
        [ISSUER, `${ISSUER}/`].includes(metadata.issuer) &&
        isEndpoint(metadata.authorization_endpoint) &&
        isEndpoint(metadata.token_endpoint) &&
        isEndpoint(metadata.registration_endpoint) &&
        isEndpoint(metadata.revocation_endpoint) &&
        isStrings(metadata.scopes_supported) &&
        isStrings(metadata.token_endpoint_auth_methods_supported) &&
        metadata.code_challenge_methods_supported?.includes('S256') === true,
    )
  })

  it('as a registration', async () => {
    const document = {
      client_id: 'c1',
      client_secret: 's1',
      client_secret_expires_at: 0,
      client_id_issued_at: 1,
      token_endpoint_auth_method: 'client_secret_basic',
      registration_access_token: 'rat1',
      registration_client_uri: `${ISSUER}/register/c1`,
      scope: 'read',
    }
    const request = {
      server: SERVER,
      authorizationServer: METADATA,
      redirectUri: CALLBACK,
      metadata: { client_name: 'Gateway', redirect_uris: [CALLBACK] },
      initialAccessToken: undefined,
    }
    await read(
      withStatus(hostileJson(document), 201, 201, 201, 200, 400),
      async (fetch) =>
        readRegisteredClient(await register(request, fetch, 'public'), 'client_secret_basic', METADATA),
      (client) =>
        // Visible ASCII by RFC 6749 §2.2; it has to fit into a URL, a header and a record's key at least.
        /^[^\p{Cc}\p{Cs}]+$/u.test(client.clientId) &&
        ['none', 'client_secret_basic', 'client_secret_post'].includes(client.tokenEndpointAuthMethod) &&
        isSendable(client.registrationAccessToken) &&
        (client.registrationClientUri === undefined ||
          new URL(client.registrationClientUri).origin === ISSUER),
    )
  })

  it('as a registration, the whole way to what is kept of it: 1,000 of them', async () => {
    const document = {
      client_id: 'c1',
      client_secret: 's1',
      redirect_uris: [CALLBACK],
      grant_types: ['x'],
      scope: 'a',
    }
    await fc.assert(
      fc.asyncProperty(hostileJson(document), async (text) => {
        const context = { ...createOAuthContext(), fetch: answering(text, 201) }
        const [client] = await Promise.allSettled([ensureClientAt(context, ISSUER, { scope: 'a' })])
        const held = await registrationsOf(context)
        if (client.status === 'rejected')
          return isOurs(client.reason) && held.every(({ status }) => status !== 'registered')
        return held.length === 1 && held[0]?.clientId === client.value.clientId
      }),
      { ...MANY, numRuns: 1000 },
    )
  })

  it('as an answer about a registration', async () => {
    const held: Registration = {
      status: 'registered',
      server: 'notes',
      serverUrl: SERVER.url,
      issuer: ISSUER,
      redirectUri: CALLBACK,
      createdAt: 1,
      clientId: 'c1',
      clientSecret: 's1',
      tokenEndpointAuthMethod: 'client_secret_basic',
      registrationAccessToken: 'rat1',
      registrationClientUri: `${ISSUER}/register/c1`,
    }
    const document = {
      client_id: 'c1',
      client_secret: 's1',
      client_secret_expires_at: 0,
      registration_access_token: 'rat1',
      registration_client_uri: `${ISSUER}/register/c1`,
      client_name: 'Gateway',
      redirect_uris: [CALLBACK],
    }
    const context = createOAuthContext()
    const key = registrationKey('notes', ISSUER, CALLBACK)
    await context.records.registrations.save(key, undefined, held)
    await read(
      withStatus(hostileJson(document), 200, 200, 200, 400, 401),
      async (fetch) => {
        const before = await context.records.registrations.get(key)
        if (before === undefined) throw new Error('the registration is lost')
        return readRegistration({ ...context, fetch }, key, before)
      },
      ({ held: { value }, remote }) =>
        value.clientId === 'c1' &&
        isSendable(value.registrationAccessToken) &&
        new URL(value.registrationClientUri ?? '').origin === ISSUER &&
        !['client_secret', 'registration_access_token'].some((name) => Object.hasOwn(remote, name)),
    )
  })

  it('as tokens, and as the refusal of them', async () => {
    const document = {
      access_token: 'at1',
      token_type: 'Bearer',
      expires_in: 3600,
      refresh_token: 'rt1',
      scope: 'read',
      error_description: 'why',
    }
    const context = createOAuthContext()
    await read(
      withStatus(
        fc.oneof({ weight: 3, arbitrary: hostileJson(document) }, hostileJson({ ...document, error: 'invalid_grant' })),
        200, 200, 200, 400, 401, 500,
      ), // prettier-ignore
      (fetch) => refreshedTokens({ ...context, fetch }),
      areUsable,
    )
  })

  it('as tokens in a form', async () => {
    const context = createOAuthContext()
    const names = ['access_token', 'token_type', 'expires_in', 'refresh_token', 'scope', 'error', '__proto__']
    const member = fc.tuple(
      fc.constantFrom(...names),
      fc.oneof(
        fc.constantFrom(
          'at1',
          'bearer',
          '3600',
          '-1',
          '1e999',
          'read write',
          'invalid_grant',
          '%',
          '%zz',
          '+',
          '',
        ),
        fc.string({ unit: 'binary' }),
      ),
    )
    const texts = fc
      .array(member, { maxLength: 6 })
      .map((all) => ['access_token=at0', ...all.map((pair) => pair.join('='))].join('&'))
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    await read(
      withStatus(fc.oneof({ weight: 9, arbitrary: texts }, fc.string({ unit: 'binary' })), 200, 200, 400),
      async (fetch) => {
        const asForm: GuardedFetch = async (...request) => {
          const answer = await fetch(...request)
          return new Response(await answer.text(), { status: answer.status, headers: type })
        }
        return refreshedTokens({ ...context, fetch: asForm })
      },
      areUsable,
    )
  })

  it('as the answer to an authorization request', async () => {
    const context = createOAuthContext()
    const flow = flowAt(ISSUER, SERVER, { clientId: 'c1', state: 'the-state' })
    const promised = {
      ...flow,
      authorizationServer: {
        ...flow.authorizationServer,
        authorization_response_iss_parameter_supported: true,
      },
    }
    const tokens = answering(JSON.stringify({ access_token: 'at1', token_type: 'Bearer' }))
    const results = { done: 0, refused: 0 }
    const parameter: fc.Arbitrary<[string, string]> = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom<[string, string][]>(
          ['code', 'c'],
          ['state', 'the-state'],
          ['iss', ISSUER],
        ),
      },
      fc.tuple(
        fc.constantFrom(
          'code',
          'state',
          'iss',
          'error',
          'error_description',
          'response',
          'id_token',
          '__proto__',
        ),
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.constantFrom('', 'access_denied', 'a\r\nset-cookie: b=c', `${ISSUER}/`, 'https://evil.example'),
        ),
      ),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(parameter, { maxLength: 5 }),
        fc.boolean(),
        async (parameters, isPromised) => {
          const answer = new URLSearchParams(parameters)
          try {
            await finishAuthorization(
              { ...context, fetch: tokens },
              SERVER,
              isPromised ? promised : flow,
              answer,
            )
            results.done++
            // Nothing is exchanged for the answer of somebody else.
            return answer.getAll('iss').every((iss) => iss === ISSUER) && !answer.has('error')
          } catch (error) {
            results.refused++
            return isOurs(error)
          }
        },
      ),
      MANY,
    )
    expect(Math.min(results.done, results.refused)).toBeGreaterThan(100)
  })
})

/** openid-client's errors are told apart, and what they hold of the answer is made printable. */
/** As a refresh reads them. */
async function refreshedTokens(context: OAuthContext): Promise<Tokens> {
  const reference = {
    clientSource: 'static',
    clientId: 'c1',
    redirectUri: CALLBACK,
    authorizationServer: METADATA,
  } as const
  try {
    return await requestTokens(context, SERVER, reference, (configuration) =>
      openid.refreshTokenGrant(configuration, 'rt0'),
    )
  } catch (error) {
    throw asOurs(error)
  }
}

const areUsable = ({ accessToken, expiresAt }: Tokens): boolean =>
  isSendable(accessToken) &&
  accessToken !== '' &&
  (expiresAt === undefined || !Number.isNaN(new Date(expiresAt).getTime()))

function asOurs(error: unknown): unknown {
  if (error instanceof McpDcrError || !(error instanceof Error)) return error
  if (
    !/openid-client|oauth4webapi|^(ClientError|ResponseBodyError|OperationProcessingError)$/.test(
      `${error.name} ${error.stack}`,
    )
  )
    return error
  const { error: code = 'none', description = 'none' } = unwrapError(error)
  return new McpDcrError('token_request_failed', `${code}: ${description}`, { fix: 'Sign in again.' })
}

/** Whether a header can carry it. */
function isSendable(token: string | undefined): boolean {
  return token === undefined || new Headers({ authorization: `Bearer ${token}` }).has('authorization')
}
