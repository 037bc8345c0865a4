import fc from 'fast-check'
import { expect, it } from 'vitest'
import { readRetryAfter } from '../../src/oauth/retry-after.js'
import { MANY } from '../support/hostile-json.js'

const NOW = Date.UTC(2030, 0, 1)

it.each([
  ['120', 120_000],
  [' 7 ', 7000],
  ['0', 0],
  ['Tue, 01 Jan 2030 00:02:00 GMT', 120_000],
  ['Mon, 31 Dec 2029 23:59:59 GMT', 0],
  ['-1', 0],
  ['1e3', 0],
  ['2030-01-01T00:02:00Z', 0],
  ['tomorrow GMT', 0],
])('a Retry-After of "%s" is %i ms', (header, milliseconds) => {
  expect(readRetryAfter(header, NOW)).toBe(milliseconds)
})

it('10,000 hostile Retry-After headers are a time to wait for, or none', () => {
  const pieces = fc.constantFrom(
    '9',
    '0',
    '-',
    '.',
    'e',
    ' ',
    'Tue, 01 Jan 2030 00:02:00',
    ' GMT',
    '275761',
    '\0',
  )
  const headers = fc.oneof(
    fc.array(pieces, { maxLength: 8 }).map((all) => all.join('')),
    fc.string({ unit: 'binary' }),
    fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
    fc.constantFrom('9'.repeat(400), `${' '.repeat(10_000)}x`),
  )
  fc.assert(
    fc.property(headers, (header) => readRetryAfter(header, NOW) >= 0),
    MANY,
  )
})
