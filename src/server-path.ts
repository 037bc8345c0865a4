/**
 * A gateway path as requests carry it: percent-encoded, dot segments resolved, without a trailing slash; in
 * lower case, since Express' routes ignore case.
 */
export function serverPath(path: string): string {
  return new URL(`http://localhost${path}`).pathname.replace(/\/+$/, '').toLowerCase()
}

/** Whether a path can be a server's: absolute, not the root, without query, and not among our own routes. */
export function isServerPath(path: string): boolean {
  if (!/^\/[^?#]*$/.test(path) || !URL.canParse(`http://localhost${path}`)) return false
  const normalized = serverPath(path)
  return normalized !== '' && !normalized.startsWith('//') && !/^\/api\/oauth(?:\/|$)/.test(normalized)
}
