import { expect, it } from 'vitest'
import { BoundedMap } from '../../src/bounded-map.js'

it.each<[string, number, readonly (readonly [string, number])[], readonly (readonly [string, number])[]]>([
  [
    'holds up to its limit',
    2,
    [
      ['a', 1],
      ['b', 2],
    ],
    [
      ['a', 1],
      ['b', 2],
    ],
  ],
  [
    'forgets the oldest beyond it',
    2,
    [
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ],
    [
      ['b', 2],
      ['c', 3],
    ],
  ],
  [
    'counts a replaced entry as the newest',
    2,
    [
      ['a', 1],
      ['b', 2],
      ['a', 3],
      ['c', 4],
    ],
    [
      ['a', 3],
      ['c', 4],
    ],
  ],
  ['holds nothing where the limit is 0', 0, [['a', 1]], []],
])('a bounded map %s', (_, limit, entries, expected) => {
  const map = new BoundedMap<string, number>(limit)
  for (const [key, value] of entries) map.set(key, value)
  expect([...map]).toEqual(expected)
})
