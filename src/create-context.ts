import { BoundedMap } from './bounded-map.js'
import type { GatewayContext } from './gateway/context.js'
import { createFlowCookies } from './gateway/flow-cookie.js'
import { createMcpSessions } from './gateway/mcp-client.js'
import { createRequestStates } from './gateway/request-state.js'
import { createServerChallenges } from './gateway/server-challenges.js'
import { createSignInWaits } from './gateway/sign-in-waits.js'
import { createStepUps } from './gateway/step-up.js'
import { createDiscover } from './oauth/discover.js'
import type { OAuthContext } from './oauth/context.js'
import { createEmit } from './oauth/events.js'
import { createFailures } from './oauth/failures.js'
import type { Logger } from './model.js'
import { loadAhead } from './modules.js'
import { createRegistrationNotes } from './oauth/registration-notes.js'
import { createTrust } from './oauth/trusted-issuer.js'
import type { Config } from './options.js'
import { createRegistrations } from './registrations.js'
import { createProviderLookup } from './providers/provider-lookup.js'
import { createGuardedFetch, reachOf } from './security/guarded-fetch.js'
import { createBreaker } from './store/breaker.js'
import type { CredentialStore } from './store/contract.js'
import { createLeases } from './store/lease.js'
import { memoryStore } from './store/memory.js'
import { openCredentials } from './store/open-credentials.js'
import { pauseByTimer } from './store/pause.js'
import { createRecords } from './store/records.js'
import { createReseal } from './store/reseal.js'

/** How many users' newest challenges, finished states and the like are remembered. */
const REMEMBERED = 10_000

/** How long the end waits for refreshes that are under way, in milliseconds: Kubernetes gives a process 30 seconds. */
const LAST_WORK = 25_000

/** Builds what the steps share from the options, and opens the store. */
export function createContext(config: Config): { context: GatewayContext; close: () => Promise<void> } {
  const { clock, logger, timeout } = config
  const { store: opened, sealer } = openCredentials(config)
  const breaker = opened.shared ? createBreaker(opened, logger) : undefined
  const store = breaker?.store ?? opened
  const providerOf = createProviderLookup(config.providers)
  const isTrusted = createTrust(config.trust)
  const fetch = createGuardedFetch({ timeout, allowPrivateNetworks: config.allowPrivateNetworks })
  const oauth: OAuthContext = {
    clientName: config.clientName,
    clientMetadataUrl: config.clientMetadataUrl,
    records: createRecords(store, sealer, { clock, logger }),
    leases: createLeases(storeOfLeases(store, clock), { clock }),
    discover: createDiscover(fetch, { timeout, clock, local: config.local, providerOf, isTrusted }),
    emit: createEmit(config.onEvent, { clock, logger }),
    failures: createFailures(clock),
    providerOf,
    isTrusted,
    notes: createRegistrationNotes(store, clock),
    registrationPauses: new BoundedMap(REMEMBERED),
    newIssuers: new BoundedMap(REMEMBERED),
    fetch,
    reachOf: (server) => (server.declared || config.local ? reachOf(server.url) : 'public'),
    reachOfRegistration: ({ serverUrl }) =>
      !config.undeclared || config.local ? reachOf(serverUrl) : 'public',
    timeout,
    clock,
    logger,
  }
  loadAhead()
  void warnOfCutOffRegistrations(oauth)
  const reseal = createReseal(oauth.records, logger)
  if ((config.encryptionKeys?.length ?? 0) > 1) void inBackground(reseal, logger)
  const context: GatewayContext = {
    config,
    oauth,
    reseal,
    registrations: createRegistrations(oauth, (name) =>
      config.servers?.find((server) => server.name === name),
    ),
    cookies: createFlowCookies(sealer, clock),
    challenges: new BoundedMap(REMEMBERED),
    mcpSessions: createMcpSessions(),
    requestStates: createRequestStates(sealer, clock),
    signInWaits: createSignInWaits(),
    requirements: new WeakMap(),
    elicitations: new BoundedMap(REMEMBERED),
    serverChallenges: createServerChallenges(oauth),
    stepUps: createStepUps(store, clock),
    undeclared: new BoundedMap(1000),
    accepted: new WeakSet(),
    signIns: new BoundedMap(REMEMBERED),
    acceptedSignIns: new BoundedMap(REMEMBERED),
    callbacks: new Map(),
    usedStates: new BoundedMap(REMEMBERED),
    refreshPauses: new BoundedMap(REMEMBERED),
  }
  const close = async (): Promise<void> => {
    // A code that is spent has brought tokens, and a token that has rotated at its issuer is replaced: they are to be saved.
    const lastWork = Promise.allSettled(context.callbacks.values()).then(() => oauth.leases.idle(LAST_WORK))
    await Promise.race([lastWork, pauseByTimer(LAST_WORK)])
    // What could not be saved is tried once more: by the store itself.
    breaker?.end()
    await Promise.all([oauth.records.connections.close(), oauth.records.registrations.close()])
    await store.close?.()
  }
  return { context, close }
}

const inProcess = new WeakMap<CredentialStore, CredentialStore>()

/** A store that is safe in one process only needs no lease that others could see: all that share the store share one in memory. */
function storeOfLeases(store: CredentialStore, clock: () => number): CredentialStore {
  if (store.shared) return store
  const known = inProcess.get(store) ?? memoryStore({ clock })
  inProcess.set(store, known)
  return known
}

/** What is not written again would need the earlier keys for good. */
async function inBackground(reseal: () => Promise<unknown>, logger: Logger): Promise<void> {
  try {
    await reseal()
  } catch (error) {
    logger.warn(
      'not all records could be sealed anew; dcr.reseal() tries again, and so does the next start',
      {
        error,
      },
    )
  }
}

/** A crash between the marker and the answer may have left a client at the issuer that nobody uses. */
async function warnOfCutOffRegistrations({ records, logger }: OAuthContext): Promise<void> {
  try {
    for await (const { value } of records.registrations.listBare()) {
      if (value.status !== 'registering' && value.cutOffAt === undefined) continue
      const { server, issuer } = value
      logger.warn('a registration was cut off; the next sign-in registers again', { server, issuer })
    }
  } catch {
    // Whatever is wrong with the store shows at its first use.
  }
}
