/**
 * Packages that only a sign-in, a refresh or a first change needs: loaded when they are first asked for, so that a
 * gateway's start does not wait for them. Kept, since `import()` looks a loaded module up anew each time.
 */
export const openidClient = once(() => import('openid-client'))
export const encryptJwe = once(() => import('jose/jwe/compact/encrypt'))
export const decryptJwe = once(() => import('jose/jwe/compact/decrypt'))
export const writeFileAtomic = once(() => import('write-file-atomic'))
export const undici = once(() => import('undici'))

/** Has all of them loaded behind the start, so that the first person does not wait either. */
export function loadAhead(): void {
  const modules = [undici, openidClient, encryptJwe, decryptJwe, writeFileAtomic]
  setImmediate(() => {
    // What cannot be loaded shows where it is used.
    for (const load of modules) load().catch(() => undefined)
  }).unref()
}

function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined
  return () =>
    (loading ??= load().catch((error: unknown) => {
      // The next one may find what this one has not.
      loading = undefined
      throw error
    }))
}
