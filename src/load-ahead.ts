/**
 * Loads what only a sign-in or a refresh needs, once the gateway has started: its start does not wait for it, and
 * neither does the first person. Who comes earlier waits for the same loading.
 */
export function loadAhead(): void {
  const load = [
    () => import('./security/guarded-dispatcher.js'),
    () => import('openid-client'),
    () => import('jose/jwe/compact/encrypt'),
    () => import('jose/jwe/compact/decrypt'),
    () => import('write-file-atomic'),
  ]
  // What cannot be loaded shows where it is used.
  setImmediate(() => load.forEach((module) => void module().catch(() => undefined))).unref()
}
