import { McpDcrError } from '../errors.js'
import { errorAnswer, redirectAnswer, toMcpDcrError } from '../gateway/answer.js'
import { authorizeUrl, baseUrlOf, ROUTES_PATH } from '../gateway/base-url.js'
import { challengeKey, type GatewayContext } from '../gateway/context.js'
import { completeElicitations } from '../gateway/pending-elicitations.js'
import { settleStepUp } from '../gateway/step-up.js'
import { rememberUndeclared, undeclaredServer } from '../gateway/undeclared.js'
import type { PendingFlow, Server } from '../model.js'
import { finishAuthorization } from '../oauth/exchange.js'
import { rememberRefusal } from '../oauth/refused-scope.js'
import { connectionKey } from '../store/records.js'
import type { Request } from 'express'
import type { Answer } from '../gateway/intercept.js'
import type { Route } from './index.js'
import { requireServer, requireUser } from './servers.js'

/**
 * `GET /callback`: the way back from the authorization server. In this order, so that a forged, replayed,
 * expired or foreign callback changes nothing: state and browser (the cookie), user, then the issuer and the
 * response itself.
 */
export const callback: Route = async (context, req) => {
  const baseUrl = baseUrlOf(context.config, req)
  const parameters = new URL(req.originalUrl, baseUrl).searchParams
  const [state = '', ...more] = parameters.getAll('state')
  const flow = await context.cookies.find(req, more.length === 0 ? state : '', baseUrl)
  const user = await requireUser(context, req)
  if (user !== flow.user) throw userMismatch(flow)
  // A reload while the first is under way is the same callback, and shall end where that one ends.
  const query = parameters.toString()
  const underWay = context.callbacks.get(query)
  if (underWay !== undefined) return underWay
  if (context.usedStates.has(flow.state)) throw finished(flow)
  const answer = finish(context, req, flow, parameters, baseUrl)
  context.callbacks.set(query, answer)
  try {
    return await answer
  } finally {
    context.callbacks.delete(query)
  }
}

async function finish(
  context: GatewayContext,
  req: Request,
  flow: PendingFlow,
  parameters: URLSearchParams,
  baseUrl: string,
): Promise<Answer> {
  context.usedStates.set(flow.state, true)
  try {
    const server = await serverOfFlow(context, req, flow)
    const connection = await finishAuthorization(context.oauth, server, flow, parameters)
    context.signIns.set(connectionKey(flow.user, flow.server), connection.connectedAt)
    context.signInWaits.end(connectionKey(flow.user, flow.server))
    void completeElicitations(context, flow.user, flow.server)
    // It has led to this sign-in; a later one begins with a challenge of its own.
    context.challenges.delete(challengeKey(flow.user, server))
    await settleStepUp(context, connection)
  } catch (thrown) {
    await noteRefusal(context, flow, thrown)
    return onFailure(context, req, flow, thrown, { baseUrl, parameters })
  }
  const target =
    flow.returnTo === undefined
      ? `${baseUrl}${ROUTES_PATH}/connected/${encodeURIComponent(flow.server)}`
      : new URL(baseUrl).origin + flow.returnTo
  return redirectAnswer(target, 303, context.cookies.drop(req, flow))
}

/** Who waits for the sign-in learns that there will be none; what cannot be saved of it is asked for once more. */
async function noteRefusal(
  { oauth, signInWaits }: GatewayContext,
  flow: PendingFlow,
  thrown: unknown,
): Promise<void> {
  if (!(thrown instanceof McpDcrError) || thrown.code !== 'access_denied') return
  signInWaits.end(connectionKey(flow.user, flow.server), 'declined')
  try {
    await rememberRefusal(oauth, flow)
  } catch (error) {
    toMcpDcrError(error, oauth.logger)
  }
}

function finished({ server }: PendingFlow): McpDcrError {
  return new McpDcrError('flow_not_found', 'This sign-in is finished already.', {
    server,
    fix: 'Start again.',
  })
}

/** The flow is sealed by this gateway, so an undeclared server is known by it even after a restart. */
async function serverOfFlow(context: GatewayContext, req: Request, flow: PendingFlow): Promise<Server> {
  const server = context.config.undeclared
    ? undeclaredServer(flow.server)
    : await requireServer(context, req, flow.user, flow.server)
  if (server.url === flow.serverUrl) {
    if (!server.declared) rememberUndeclared(context, flow.user, server)
    return server
  }
  throw new McpDcrError('unknown_server', `The MCP server "${flow.server}" has another url by now.`, {
    server: flow.server,
    fix: 'Start again.',
  })
}

function onFailure(
  { config, cookies, usedStates }: GatewayContext,
  req: Request,
  flow: PendingFlow,
  thrown: unknown,
  { baseUrl, parameters }: { baseUrl: string; parameters: URLSearchParams },
): Answer {
  const error = toMcpDcrError(thrown, config.logger)
  if (error.code === 'client_invalid' && parameters.has('error')) {
    // The flow stays: by it the connections page offers to register again, as where it had not come back (SPEC 45).
    return errorAnswer(req, error, `${baseUrl}${ROUTES_PATH}/connections`, 'Connections')
  }
  const answer = errorAnswer(req, error, authorizeUrl(baseUrl, flow.server, flow.returnTo))
  if (error.code === 'issuer_mismatch') {
    // Not the answer of our own authorization server, so it must not end the flow that awaits that (SPEC 30).
    usedStates.delete(flow.state)
    return answer
  }
  return { ...answer, headers: { ...answer.headers, 'set-cookie': cookies.drop(req, flow) } }
}

function userMismatch(flow: PendingFlow): McpDcrError {
  return new McpDcrError('user_mismatch', 'Another user of this gateway began this sign-in.', {
    server: flow.server,
    fix: 'Sign in to the gateway as that user, or start again.',
  })
}
