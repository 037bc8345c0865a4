const FORMAT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' })
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

/** A point in time for people, as HTML; what is beyond all calendars, as text. Both in epoch milliseconds. */
export function timeElement(time: number, now: number): string {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return 'in the far future'
  return `<time datetime="${date.toISOString()}">${FORMAT.format(date)} UTC</time> (${distance(time - now)})`
}

function distance(milliseconds: number): string {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(milliseconds) >= size) ?? []
  if (unit === undefined) return milliseconds <= 0 ? 'just now' : 'in less than a minute'
  return RELATIVE.format(Math.trunc(milliseconds / size), unit)
}
