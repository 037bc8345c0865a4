/**
 * The milliseconds that a `Retry-After` header asks to wait for, seconds or an HTTP date (RFC 9110 §10.2.3); 0 where
 * it says nothing that can be read, or a time that has passed.
 *
 * @param now epoch milliseconds
 */
export function readRetryAfter(header: string | undefined, now: number): number {
  const text = header?.trim() ?? ''
  if (/^\d+$/.test(text)) return Number(text) * 1000
  // Without its zone a date would be taken for local time.
  const time = text.endsWith(' GMT') ? Date.parse(text) : NaN
  return Math.max(0, time - now) || 0
}
