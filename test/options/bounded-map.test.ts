import fc from 'fast-check'
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

it('a bounded map forgets in order, whatever is replaced or deleted meanwhile', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), fc.constantFrom('set', 'set', 'delete', 'clear'))), (steps) => {
      const map = new BoundedMap<number, number>(4)
      let expected: (readonly [number, number])[] = []
      steps.forEach(([key, step], n) => {
        expected = step === 'clear' ? [] : expected.filter(([it]) => it !== key)
        if (step === 'set') {
          map.set(key, n)
          expected = [...expected, [key, n] as const].slice(-4)
        } else if (step === 'delete') map.delete(key)
        else map.clear()
        expect([...map]).toEqual(expected)
      })
    }),
  )
})
