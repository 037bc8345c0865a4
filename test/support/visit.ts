import { expect } from 'vitest'
import type { AuthorizationServer } from './authorization-server.js'
import { createPerson, type Person, type PersonOptions } from './person.js'
import type { ReceivedRequest } from './server.js'

/** A page of the MCP server that the gateway serves as `notes`. */
export const NOTES_PAGE = '/mcp/notes/page'

/** A browser in which a user is signed in to the gateway, and nowhere else. */
export function browserOf(user: string, gatewayUrl: string, options?: PersonOptions): Person {
  const person = createPerson(options)
  person.setCookie(gatewayUrl, `user=${user}; Path=/`)
  return person
}

/** Signs a user in to the MCP server. */
export async function connect(user: string, gatewayUrl: string, options?: PersonOptions): Promise<Person> {
  const person = browserOf(user, gatewayUrl, options)
  const page = await person.signIn(gatewayUrl + NOTES_PAGE, { login: user })
  expect([page.status, page.url]).toEqual([200, gatewayUrl + NOTES_PAGE])
  expect(page.text).toContain(`You are ${user}`)
  return person
}

/** Opens the page where that needs one refresh: there is one, and it works. Returns the id of the client that made it. */
export async function expectRefresh(
  person: Person,
  gatewayUrl: string,
  authorizationServer: AuthorizationServer,
): Promise<string> {
  const before = tokenRequests(authorizationServer, 'refresh_token').length
  const page = await person.follow(gatewayUrl + NOTES_PAGE)
  expect([page.status, page.url]).toEqual([200, gatewayUrl + NOTES_PAGE])
  const [refresh, ...more] = tokenRequests(authorizationServer, 'refresh_token').slice(before)
  expect([refresh?.status, more]).toEqual([200, []])
  return clientIdOf(refresh as ReceivedRequest)
}

export function tokenRequests({ requests }: AuthorizationServer, grantType: string): ReceivedRequest[] {
  return requests.filter(({ path, form }) => path === '/token' && form.get('grant_type') === grantType)
}

/** RFC 6749 §2.3.1: from the credentials, or else from the form. */
function clientIdOf({ authorization, form }: ReceivedRequest): string {
  const basic = /^Basic (.+)$/.exec(authorization ?? '')?.[1]
  if (basic === undefined) return form.get('client_id') ?? ''
  return decodeURIComponent(Buffer.from(basic, 'base64').toString().split(':', 1)[0] ?? '')
}
