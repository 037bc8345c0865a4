/** A declared path as {@link canonicalPath} has it: dot segments resolved, without a trailing slash. */
export function serverPath(path: string): string {
  return canonicalPath(new URL(`http://localhost${path}`).pathname.replace(/\/+$/, ''))
}

/** Whether a path can be a server's: absolute, not the root, without query, and not among our own routes. */
export function isServerPath(path: string): boolean {
  if (!/^\/[^?#]*$/.test(path) || !URL.canParse(`http://localhost${path}`)) return false
  const normalized = serverPath(path)
  return normalized !== '' && !normalized.startsWith('//') && !/^\/api\/oauth(?:\/|$)/.test(normalized)
}

/**
 * A path as it is compared. In lower case, since Express' routes ignore case, and decoded, since a route such
 * as `/mcp/:name` decodes what it takes: what reaches a server's route has to be recognised as that server's,
 * or the client's own token would go upstream. "/" and "%" inside of a segment stay encoded.
 */
export function canonicalPath(path: string): string {
  return (path.includes('%') ? path.split('/').map(decodeSegment).join('/') : path).toLowerCase()
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment).replace(/[%/]/g, encodeURIComponent)
  } catch {
    return segment
  }
}
