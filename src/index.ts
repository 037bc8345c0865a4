export { mcpDcr } from './middleware.js'
export type { McpDcr } from './middleware.js'
export type { RequestMcp } from './gateway/request-mcp.js'
export type { WarmResult } from './gateway/warm.js'
export type { ConnectionState } from './connections.js'
export type {
  ConnectionEvent,
  McpDcrEvent,
  NeedsAuthorizationEvent,
  RegistrationEvent,
} from './oauth/events.js'
export type {
  AuthorizationRequiredDetails,
  ElicitationCompleteDetails,
  OAuthConfig,
  Options,
  OwnAnswer,
  ServerOptions,
  Servers,
} from './options.js'
export type {
  RegistrationDrift,
  RegistrationInfo,
  RegistrationReport,
  Registrations,
} from './registrations.js'
export type { Logger, PrivateJwk } from './model.js'
export { providerProfiles } from './providers/index.js'
export type { ProviderProfile } from './providers/provider-profile.js'
export { AuthorizationRequiredError, McpDcrError } from './errors.js'
export type { Elicitation, ErrorCode } from './errors.js'
export type { CredentialStore, RecordData, SetOptions, StoredRecord } from './store/contract.js'
export type { ResealReport } from './store/records.js'
export { memoryStore } from './store/memory.js'
