import type { Server } from '../model.js'

/** A server without configuration: one that nobody declared, or that is not declared any more. */
export function bareServer(name: string, url: string): Server {
  return {
    name,
    url,
    path: undefined,
    declared: false,
    oauth: {
      clientMetadata: {},
      authorizationParams: {},
      strictResource: false,
    },
  }
}
