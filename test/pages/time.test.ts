import { expect, it } from 'vitest'
import { timeElement } from '../../src/pages/time.js'

const NOW = Date.UTC(2030, 0, 1, 12)

it.each([
  [0, 'just now'],
  [-59_000, 'just now'],
  [59_000, 'in less than a minute'],
  [61_000, 'in 1 minute'],
  [-3 * 3_600_000, '3 hours ago'],
  [86_400_000, 'tomorrow'],
  [90 * 86_400_000, 'in 90 days'],
])('says how far %i ms are from now: %s', (away, words) => {
  const html = timeElement(NOW + away, NOW)
  expect(html).toBe(
    `<time datetime="${new Date(NOW + away).toISOString()}">${/>(.*)</.exec(html)?.[1]}</time> (${words})`,
  )
})

it('names the date and the time in UTC', () => {
  expect(timeElement(NOW, NOW)).toContain('>1 Jan 2030, 12:00 UTC<')
})

it.each([Infinity, 1e20])('has words for %d, which is beyond all calendars', (time) => {
  expect(timeElement(time, NOW)).toBe('in the far future')
})
