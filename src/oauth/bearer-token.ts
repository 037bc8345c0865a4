/** What can follow `Bearer ` in a header: visible ASCII, wider than RFC 6750 §2.1 since servers are. */
const TOKEN = /^[\x21-\x7e]+$/

/** Whether a header can carry this as a token. The header's own error would quote it, and so put it into the log. */
export function isBearerToken(value: unknown): value is string {
  return typeof value === 'string' && TOKEN.test(value)
}
