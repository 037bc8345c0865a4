import { randomUUID } from 'node:crypto'
import type { JSONWebKeySet } from 'jose'
import { inject } from 'vitest'

type Json = Record<string, unknown>

/** Client registration policies hold for those who come without a token, or for those who bring one. */
export type PolicySubject = 'anonymous' | 'authenticated'

export interface RealmClient {
  readonly clientId: string
  readonly name?: string
  readonly redirectUris: string[]
  readonly secret?: string
  readonly publicClient: boolean
}

export interface Realm {
  readonly issuer: string
  /** The keys that access tokens are signed with. */
  readonly jwks: JSONWebKeySet
  /** The id of the user `alice`, whose password is `any`: the `sub` of her tokens. */
  readonly alice: string
  /** What Keycloak itself says. */
  readonly version: string
  /** Whether client secrets can expire: a preview feature. */
  readonly secretsCanExpire: boolean
  /** A client scope that clients may ask for, whose tokens are for this resource. */
  addScope(name: string, resource: string): Promise<void>
  /** Changes a policy's settings; undefined removes it. */
  setPolicy(
    subject: PolicySubject,
    providerId: string,
    config: Record<string, string[]> | undefined,
  ): Promise<void>
  /** Has all client secrets expire after this many seconds, and renews them on a PUT if they last no longer than `renew`. */
  setSecretLifetime(seconds: number, renew: number): Promise<void>
  /** A token that registers this many clients. */
  initialAccessToken(count: number): Promise<string>
  /** The clients that were registered dynamically, as the administrator sees them. */
  clients(): Promise<RealmClient[]>
  /** Deletes a client in the administration console. */
  deleteClient(clientId: string): Promise<void>
  /** Changes the realm's settings. */
  update(settings: Json): Promise<void>
  /** How many sessions Alice has, those of her offline tokens included. */
  sessions(): Promise<number>
  /** Ends every session, those of offline tokens included. */
  logOutEverybody(): Promise<void>
  /** Takes the role `offline_access` from everybody. */
  denyOfflineTokens(): Promise<void>
  delete(): Promise<void>
}

/** A realm of its own in the Keycloak of this run, made through the administration API. */
export async function createRealm(): Promise<Realm> {
  const { url, username, password } = inject('keycloak')
  const name = `mcp-dcr-${randomUUID()}`
  const issuer = `${url}/realms/${name}`

  const form = { grant_type: 'password', client_id: 'admin-cli', username, password }
  const admin = await json<{ access_token: string }>(
    await fetch(`${url}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams(form),
    }),
  )
  const call = async (method: string, path: string, body?: unknown): Promise<Response> =>
    accepted(
      await fetch(`${url}/admin${path}`, {
        method,
        headers: { authorization: `Bearer ${admin.access_token}`, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    )
  const get = async <T>(path: string): Promise<T> => json<T>(await call('GET', path))
  const realm = `/realms/${name}`

  await call('POST', '/realms', { realm: name, enabled: true })
  // Not among the settings: a user that comes with the realm has not its default roles.
  await call('POST', `${realm}/users`, {
    username: 'alice',
    enabled: true,
    email: 'alice@example.com',
    emailVerified: true,
    firstName: 'Alice',
    lastName: 'Example',
    credentials: [{ type: 'password', value: 'any', temporary: false }],
  })
  const [alice] = await get<{ id: string }[]>(`${realm}/users?username=alice&exact=true`)
  const info = await get<{ systemInfo: { version: string }; features: { name: string; enabled: boolean }[] }>(
    '/serverinfo',
  )
  const own = async () => {
    const all = await get<(RealmClient & { id: string })[]>(`${realm}/clients`)
    return all.filter((it) => it.redirectUris.some((uri) => uri.endsWith('/api/oauth/callback')))
  }

  return {
    issuer,
    jwks: await json<JSONWebKeySet>(await fetch(`${issuer}/protocol/openid-connect/certs`)),
    alice: alice?.id ?? '',
    version: info.systemInfo.version,
    secretsCanExpire: info.features.some((it) => it.name === 'CLIENT_SECRET_ROTATION' && it.enabled),
    async addScope(scope, resource) {
      const created = await call('POST', `${realm}/client-scopes`, {
        name: scope,
        protocol: 'openid-connect',
        attributes: { 'include.in.token.scope': 'true' },
        protocolMappers: [
          {
            name: 'audience',
            protocol: 'openid-connect',
            protocolMapper: 'oidc-audience-mapper',
            config: { 'included.custom.audience': resource, 'access.token.claim': 'true' },
          },
        ],
      })
      const id = created.headers.get('location')?.split('/').at(-1)
      await call('PUT', `${realm}/default-optional-client-scopes/${id}`)
    },
    async setPolicy(subject, providerId, config) {
      const type = 'org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy'
      const policies = await get<{ id: string; subType: string; providerId: string; config: Json }[]>(
        `${realm}/components?type=${type}`,
      )
      const policy = policies.find((it) => it.subType === subject && it.providerId === providerId)
      if (policy === undefined) throw new Error(`no policy ${providerId} for ${subject}`)
      const path = `${realm}/components/${policy.id}`
      if (config === undefined) await call('DELETE', path)
      else await call('PUT', path, { ...policy, config: { ...policy.config, ...config } })
    },
    async setSecretLifetime(seconds, renew) {
      const configuration = {
        'expiration-period': seconds,
        'rotated-expiration-period': 0,
        'remaining-rotation-period': renew,
      }
      await call('PUT', `${realm}/client-policies/profiles`, {
        profiles: [{ name: 'expiring', executors: [{ executor: 'secret-rotation', configuration }] }],
      })
      const conditions = [{ condition: 'any-client', configuration: {} }]
      await call('PUT', `${realm}/client-policies/policies`, {
        policies: [{ name: 'expiring', enabled: true, conditions, profiles: ['expiring'] }],
      })
    },
    async initialAccessToken(count) {
      const body = { count, expiration: 300 }
      return (await json<{ token: string }>(await call('POST', `${realm}/clients-initial-access`, body)))
        .token
    },
    clients: own,
    async deleteClient(clientId) {
      const client = (await own()).find((it) => it.clientId === clientId)
      if (client === undefined) throw new Error(`no client ${clientId}`)
      await call('DELETE', `${realm}/clients/${client.id}`)
    },
    async update(settings) {
      await call('PUT', realm, { realm: name, ...settings })
    },
    async sessions() {
      const paths = (await own()).map(({ id }) => `${realm}/users/${alice?.id}/offline-sessions/${id}`)
      const sessions = await Promise.all(
        [`${realm}/users/${alice?.id}/sessions`, ...paths].map(get<unknown[]>),
      )
      return sessions.flat().length
    },
    async logOutEverybody() {
      await call('POST', `${realm}/logout-all`)
    },
    async denyOfflineTokens() {
      const role = await get<object>(`${realm}/roles/offline_access`)
      await call('DELETE', `${realm}/roles/default-roles-${name}/composites`, [role])
    },
    async delete() {
      await call('DELETE', realm)
    },
  }
}

async function accepted(response: Response): Promise<Response> {
  if (response.ok) return response
  throw new Error(`${response.status} from ${response.url}: ${await response.text()}`)
}

async function json<T>(response: Response): Promise<T> {
  return (await (await accepted(response)).json()) as T
}
