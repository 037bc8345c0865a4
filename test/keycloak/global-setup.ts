import type { TestProject } from 'vitest/node'
import { startKeycloak, type KeycloakAddress } from './start-keycloak.js'

declare module 'vitest' {
  interface ProvidedContext {
    keycloak: KeycloakAddress
  }
}

/** One Keycloak for the whole run: the one of `KEYCLOAK_URL`, or one that is started for it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { KEYCLOAK_URL: url, KEYCLOAK_ADMIN, KEYCLOAK_ADMIN_PASSWORD, KEYCLOAK_VERSION } = process.env
  const admin = { username: KEYCLOAK_ADMIN ?? 'admin', password: KEYCLOAK_ADMIN_PASSWORD ?? 'admin' }
  if (url) {
    project.provide('keycloak', { url: url.replace(/\/+$/, ''), ...admin })
    return async () => {}
  }
  const { stop, how, seconds, ...address } = await startKeycloak(admin, KEYCLOAK_VERSION)
  console.log(`Keycloak from ${how} is ready after ${seconds} s: ${address.url}`)
  project.provide('keycloak', address)
  return stop
}
