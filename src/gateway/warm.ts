import type { ErrorCode } from '../errors.js'
import { forEachOf } from '../for-each.js'
import type { Server } from '../model.js'
import { prepareAuthorization } from '../oauth/authorize.js'
import { failureKey } from '../oauth/failures.js'
import { toMcpDcrError } from './answer.js'
import type { GatewayContext } from './context.js'

/** What became of one server. */
export type WarmResult =
  | {
      /** Its authorization server is known, and there is a client: a sign-in can begin at once. */
      readonly status: 'ready'
      readonly server: string
      readonly issuer: string
      readonly clientId: string
    }
  | {
      /** It answered a request without a token, and asked for none. */
      readonly status: 'no_sign_in_needed'
      readonly server: string
    }
  | {
      readonly status: 'failed'
      readonly server: string
      readonly code: ErrorCode
      readonly message: string
      /** What to do. */
      readonly fix?: string
    }

/** How many servers are warmed at the same time: each makes a handful of requests, one after the other. */
const AT_ONCE = 4

/** Does for each server what the first sign-in would wait for; see `McpDcr.warm`. Never rejects. */
export async function warmServers(
  context: GatewayContext,
  servers: readonly Server[],
  baseUrl: string,
): Promise<WarmResult[]> {
  const results: WarmResult[] = []
  await forEachOf(servers, AT_ONCE, async (server, at) => {
    results[at] = await warmOrReport(context, server, baseUrl)
  })
  return results
}

async function warmOrReport(context: GatewayContext, server: Server, baseUrl: string): Promise<WarmResult> {
  try {
    return await context.oauth.failures.watch(failureKey(server), () => warm(context, server, baseUrl))
  } catch (thrown) {
    const { code, message, fix } = toMcpDcrError(thrown, context.config.logger)
    return { status: 'failed', server: server.name, code, message, ...(fix !== undefined && { fix }) }
  }
}

async function warm(
  { oauth, serverChallenges }: GatewayContext,
  server: Server,
  baseUrl: string,
): Promise<WarmResult> {
  const asked = await serverChallenges.ask(server)
  if (asked === 'none needed') return { status: 'no_sign_in_needed', server: server.name }
  const { challenge } = asked
  const preparation = { server, baseUrl, challenge, stepUp: undefined }
  const { discovered, client } = await prepareAuthorization(oauth, preparation, { fresh: true })
  const { issuer } = discovered.authorizationServer
  return { status: 'ready', server: server.name, issuer, clientId: client.clientId }
}
