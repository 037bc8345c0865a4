import type { Request } from 'express'
import { AuthorizationRequiredError } from '../errors.js'
import type { Server } from '../model.js'
import {
  prepareAuthorization,
  startAuthorization,
  type AuthorizationRequest,
  type PreparedAuthorization,
} from '../oauth/authorize.js'
import { connectionKey } from '../store/records.js'
import { jsonAnswer, redirectAnswer } from './answer.js'
import { authorizeUrl, baseUrlOf, isOnBaseHost } from './base-url.js'
import { isNavigation } from './caller.js'
import { challengeKey, type GatewayContext, type PendingRequirement } from './context.js'
import type { Answer } from './intercept.js'
import { sessionIdOf } from './mcp-client.js'
import { noteElicitation } from './pending-elicitations.js'
import { asksForScope, countTry, pendingStepUp } from './step-up.js'

/** Why somebody has to sign in. */
export interface Requirement extends PendingRequirement {
  /** A token of this server was just rejected: it may have moved. */
  readonly fresh: boolean
  /** Where the person is, as their browser sees it. */
  readonly returnTo: string | undefined
  /** What a handler's `fetch` has thrown for it already. */
  readonly error?: AuthorizationRequiredError
}

/**
 * Answers a request that needs a sign-in: a person's browser is redirected into the flow, everybody else
 * learns the absolute URL at which a person can begin it. Discovery and registration are done for both, so
 * that what cannot work is said at once.
 *
 * @throws McpDcrError what discovery and registration throw; `authorization_required` for all but navigations
 */
export async function requireAuthorization(
  context: GatewayContext,
  req: Request,
  requirement: Requirement,
): Promise<Answer> {
  const { server, user, challenge, fresh, returnTo } = requirement
  // That of a step-up is for widening a live connection, and not what a sign-in without one should ask for.
  if (challenge !== undefined && !asksForScope(challenge))
    context.challenges.set(challengeKey(user, server), challenge)
  const request = await authorizationRequest(context, req, server, user, returnTo)
  const prepared = await prepareAuthorization(context.oauth, request, { fresh })
  const required =
    requirement.error ?? authorizationRequired(context, requirement, request.baseUrl, sessionIdOf(req))
  const own = await ownAnswer(context, req, user, required)
  if (own !== undefined) return own
  if (!isNavigation(req)) throw required
  if (isOnBaseHost(req, request.baseUrl)) return redirectIntoFlow(context, req, request, prepared)
  return redirectAnswer(authorizeUrl(request.baseUrl, server.name, request.returnTo), 302)
}

/** What the gateway's author answers instead of us, if anything. */
async function ownAnswer(
  { config }: GatewayContext,
  req: Request,
  user: string,
  required: AuthorizationRequiredError,
): Promise<Answer | undefined> {
  const { server = '', authorizationUrl = '', message } = required
  const own = await config.onAuthorizationRequired?.(req, {
    server,
    user,
    authorizationUrl,
    message,
    get elicitations() {
      return required.elicitations
    },
  })
  if (own === undefined) return undefined
  const { status, headers = {}, body } = own
  if (typeof body !== 'object') return { status, headers, ...(body !== undefined && { body }) }
  const { body: json, ...answer } = jsonAnswer(body, status)
  return { ...answer, headers: { ...answer.headers, ...headers }, ...(json !== undefined && { body: json }) }
}

/** What an authorization of this user at this server needs to know. */
export async function authorizationRequest(
  context: GatewayContext,
  req: Request,
  server: Server,
  user: string,
  returnTo: string | undefined,
): Promise<AuthorizationRequest> {
  const { config, oauth, challenges } = context
  const held = await oauth.records.connections.getOrBare(connectionKey(user, server.name))
  // One that does not open is replaced by what the person is asked for now.
  const before = held?.unopened === undefined ? held?.value : undefined
  const live = before?.status === 'connected' && before.serverUrl === server.url ? before : undefined
  const pending = live && (await pendingStepUp(context, user, server))
  return {
    server,
    user,
    baseUrl: baseUrlOf(config, req),
    challenge: pending?.challenge ?? challenges.get(challengeKey(user, server)),
    stepUp: live,
    demandedScope: pending?.demandedScope,
    returnTo,
  }
}

/** The redirect to the authorization server, and the cookie that remembers the flow. */
export async function redirectIntoFlow(
  context: GatewayContext,
  req: Request,
  request: AuthorizationRequest,
  prepared: PreparedAuthorization,
): Promise<Answer> {
  const { url, flow } = await startAuthorization(context.oauth, request, prepared)
  if (flow.demandedScope !== undefined) await countTry(context, request.user, request.server)
  return redirectAnswer(url.href, 302, await context.cookies.keep(req, flow))
}

/**
 * The error by which programs learn where a person can sign in.
 *
 * @param baseUrl undefined where it is not configured, and there is no request to tell
 * @param sessionId of the MCP client that asks
 */
export function authorizationRequired(
  context: GatewayContext,
  { server, user, challenge }: PendingRequirement,
  baseUrl: string | undefined,
  sessionId?: string,
): AuthorizationRequiredError {
  const requirement = { server, user, challenge }
  const url = baseUrl === undefined ? undefined : authorizeUrl(baseUrl, server.name)
  const error = new AuthorizationRequiredError(server.name, url, ({ elicitationId }) =>
    noteElicitation(context, requirement, { elicitationId, sessionId }),
  )
  context.requirements.set(error, requirement)
  return error
}
