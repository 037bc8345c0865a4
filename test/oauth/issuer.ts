import { onTestFinished } from 'vitest'
import type { Connection } from '../../src/model.js'
import { assertNoOrphans } from '../support/orphans.js'
import { CALLBACK, json, metadataOf, startFake, status, type FakeServer, type Reply } from './support.js'

export type Body = Record<string, unknown>

/**
 * An authorization server that registers, reads and replaces clients, the registration access token another
 * one each time, and makes of a request what `amend` says.
 */
export interface Issuer extends FakeServer {
  readonly clients: Map<string, Body>
  /** What is answered beside what was sent; an error is a refusal. */
  amend: (sent: Body) => Body
  /** Instead of the answer to a GET, PUT or DELETE of a client. */
  fault: { GET?: Reply; PUT?: Reply; DELETE?: Reply }
  /** Clients that only the issuer, or only the gateway, knows at the end of the test. */
  readonly strays: Set<string>
  /** The bodies of the registration requests and replacements, in order. */
  sent(method: 'POST' | 'PUT'): Body[]
}

export async function startIssuer(): Promise<Issuer> {
  const fake = await startFake()
  const clients = new Map<string, Body>()
  let tokens = 0
  let issued = 0
  const credentials = (id: string): Body => ({
    client_id: id,
    registration_access_token: `hush-${++tokens}`,
    registration_client_uri: `${fake.url}/clients/${id}`,
  })
  const answer = (id: string, body: Body, code: number): Reply => {
    const amended = issuer.amend(body)
    if ('error' in amended) return json(amended, 400)
    clients.set(id, { ...body, ...amended, ...credentials(id) })
    return json(clients.get(id), code)
  }
  const issuer: Issuer = Object.assign(fake, {
    clients,
    amend: (): Body => ({}),
    fault: {},
    strays: new Set<string>(),
    sent: (method: string) =>
      fake.requests
        .filter(({ method: own, path }) => own === method && /^\/(register|clients)/.test(path))
        .map(({ body }) => JSON.parse(body) as Body),
  })
  fake.replies['/register'] = (res, request) => {
    const id = `c${++issued}`
    fake.replies[`/clients/${id}`] = (response, again) => {
      const held = clients.get(id) ?? {}
      if (again.headers.authorization !== `Bearer ${String(held['registration_access_token'])}`)
        return status(401)(response, again)
      const instead = issuer.fault[again.method as keyof Issuer['fault']]
      if (instead !== undefined) return instead(response, again)
      if (again.method === 'DELETE') {
        clients.delete(id)
        return status(204)(response, again)
      }
      const body = again.method === 'PUT' ? (JSON.parse(again.body) as Body) : held
      return answer(id, body, 200)(response, again)
    }
    answer(id, JSON.parse(request.body) as Body, 201)(res, request)
  }
  onTestFinished(() => assertNoOrphans(fake.url, clients.keys(), issuer.strays))
  return issuer
}

/** Somebody's connection to the MCP server `<issuer>/mcp` by a client that was registered. */
export function connectionBy(
  { url }: Issuer,
  clientId: string,
  changes: Partial<Connection> = {},
): Connection {
  return {
    user: 'ann',
    server: 'notes',
    serverUrl: `${url}/mcp`,
    status: 'connected',
    clientSource: 'dynamic',
    clientId,
    redirectUri: CALLBACK,
    authorizationServer: metadataOf(url) as unknown as Connection['authorizationServer'],
    accessToken: 'hush-at1',
    refreshToken: 'hush-rt1',
    obtainedBy: 'authorization',
    obtainedAt: 1,
    connectedAt: 1,
    ...changes,
  }
}
