import { McpDcrError } from '../errors.js'
import type { AuthorizationServerMetadata, ClientSource, Discovered, OAuthClient, Server } from '../model.js'
import type { OAuthContext } from './context.js'
import { recallDynamicClient } from './recall-registration.js'
import { registerWhereOffered } from './register-where-offered.js'
import { bindStaticClient, staticClient } from './static-client.js'

/** What a client is needed for. */
export interface ClientRequest {
  readonly server: Server
  readonly discovered: Discovered
  readonly scope: string | undefined
  /** The gateway's public URL: the redirect URI and the client metadata document are below it. */
  readonly baseUrl: string
}

/**
 * The client to use, in the order of SPEC 15: configured by hand, a client metadata document, a dynamic
 * registration. One registration is in flight per MCP server, issuer and redirect URI (SPEC 20).
 *
 * @throws McpDcrError what registration throws; `issuer_mismatch` for a configured client of another issuer
 */
export async function ensureClient(context: OAuthContext, request: ClientRequest): Promise<OAuthClient> {
  const { server, discovered } = request
  await bindStaticClient(context, request)
  const provider = context.providerOf(discovered.authorizationServer.issuer)
  return (
    staticClient(server, discovered.authorizationServer, provider) ??
    metadataDocumentClient(context, request) ??
    (await registerWhereOffered(context, request, provider))
  )
}

/** How a connection or a pending flow names its client. */
export interface ClientReference {
  readonly clientSource: ClientSource
  readonly clientId: string
  readonly redirectUri: string
  readonly authorizationServer: AuthorizationServerMetadata
}

/**
 * The client that a connection or a pending flow began with.
 *
 * @param options.renew whether a secret that is about to expire is renewed first. Defaults to true
 * @throws McpDcrError `client_invalid` where it is gone, or where the configuration names another one by now.
 */
export async function recallClient(
  context: OAuthContext,
  server: Server,
  reference: ClientReference,
  { renew = true }: { renew?: boolean } = {},
): Promise<OAuthClient> {
  const { clientSource, clientId, authorizationServer } = reference
  let client: OAuthClient | undefined
  switch (clientSource) {
    case 'static':
      client = staticClient(server, authorizationServer, context.providerOf(authorizationServer.issuer))
      break
    case 'metadata_document':
      client = { source: clientSource, clientId, tokenEndpointAuthMethod: 'none' }
      break
    case 'dynamic':
      client = await recallDynamicClient(context, server, reference, renew)
  }
  if (client?.clientId === clientId) return client
  throw new McpDcrError(
    'client_invalid',
    'The client that this sign-in was made with is not held any more.',
    {
      server: server.name,
      fix: 'Sign in again.',
    },
  )
}

function metadataDocumentClient(
  { clientMetadataUrl }: OAuthContext,
  { discovered, baseUrl }: ClientRequest,
): OAuthClient | undefined {
  if (discovered.authorizationServer.client_id_metadata_document_supported !== true) return undefined
  const own = baseUrl.startsWith('https:') ? `${baseUrl}/api/oauth/client.json` : undefined
  const clientId = clientMetadataUrl ?? own
  return clientId === undefined
    ? undefined
    : { source: 'metadata_document', clientId, tokenEndpointAuthMethod: 'none' }
}
