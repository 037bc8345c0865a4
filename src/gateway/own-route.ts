import type { Response } from 'express'
import { McpDcrError } from '../errors.js'
import type { Challenge, Server } from '../model.js'
import { answered, failedFetchAnswer } from './answer-failure.js'
import { liveConnection } from './attach-token.js'
import { identifyUser } from './identify-user.js'
import { intercept, type Answer, type Decide } from './intercept.js'
import { isOfMcpClient, noteMcpRequest, noteSession } from './mcp-visit.js'
import { parseChallenge } from './parse-challenge.js'
import { userRequired } from './request-mcp.js'
import { requireAuthorization } from './require-authorization.js'
import { meetUndeclared } from './undeclared.js'
import { endVisit, returnToOf, type Visit } from './visit.js'

/** A route of the gateway that is no declared server's. Who is no MCP client passes as if we were not there. */
export function enterRoute(visit: Visit, res: Response): undefined | Promise<void> {
  const { context, req } = visit
  if (isOfMcpClient(visit)) {
    const noting = noteMcpRequest(visit, res, () => identifyUser(context.config, req))
    if (noting !== undefined) return noting.then(() => watchRoute(visit, res))
  } else if (!context.config.undeclared) return undefined
  watchRoute(visit, res)
  return undefined
}

/** A response that is watched already keeps its watch, which knows of failed fetches too. */
export function watchRoute(visit: Visit, res: Response): void {
  const decide: Decide = (status, values) =>
    failedFetchAnswer(visit, status) ??
    (visit.context.config.undeclared ? undeclaredAnswer(visit, status, parseChallenge(values)) : undefined)
  intercept(res, decide, (_status, header) => {
    noteSession(visit, header)
    endVisit(visit)
  })
}

/** In a gateway that declares no servers, the challenge of a response says what its route leads to. */
function undeclaredAnswer(
  visit: Visit,
  status: number,
  challenge: Challenge | undefined,
): (() => Promise<Answer>) | undefined {
  const { context, req } = visit
  if (status !== 401 || challenge?.resourceMetadata === undefined) return undefined
  return () =>
    answered(visit, async () => {
      const user = await identifyUser(context.config, req)
      if (user === undefined) throw userRequired(context.config.user === undefined)
      const server = await meetUndeclared(context, user, challenge)
      if ((await liveConnection(context, server, user)) !== undefined) throw tokenNotSent(server)
      return requireAuthorization(context, req, {
        server,
        user,
        challenge,
        returnTo: returnToOf(visit),
        fresh: false,
      })
    })
}

function tokenNotSent(server: Server): McpDcrError {
  return new McpDcrError(
    'token_not_sent',
    `You are connected to ${server.name}, but this route does not send its token.`,
    {
      server: server.name,
      fix: 'Use req.mcp.fetch in the route’s handler, or declare the server in the servers option with the path of this route.',
    },
  )
}
