import { McpDcrError } from '../errors.js'
import { jsonAnswer } from '../gateway/answer.js'
import { ROUTES_PATH } from '../gateway/base-url.js'
import { clientMetadataDocument } from '../oauth/registration-request.js'
import type { Route } from './index.js'

/** `GET /client.json`: the client metadata document (CIMD), where the base URL is https (SPEC 16). */
export const clientMetadata: Route = ({ config }) => {
  const { baseUrl, clientName } = config
  if (baseUrl?.startsWith('https:') !== true) {
    throw new McpDcrError('not_found', 'A client metadata document needs an https base URL.', {
      fix: 'Set baseUrl to the gateway’s public https URL.',
    })
  }
  const routes = baseUrl + ROUTES_PATH
  const answer = jsonAnswer(
    clientMetadataDocument(`${routes}/client.json`, { clientName, redirectUri: `${routes}/callback` }),
  )
  return { ...answer, headers: { ...answer.headers, 'cache-control': 'public, max-age=3600' } }
}
