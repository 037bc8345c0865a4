import fc from 'fast-check'
import { afterEach, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { parseTables, renderTables } from '../../src/store/json-format.js'
import { hostileJson, isPolluted, MANY } from '../support/hostile-json.js'

afterEach(() => expect(isPolluted()).toBe(false))

it('10,000 hostile files are read, and can be written again, or are refused as damaged', () => {
  const record = { version: 'v1', expiresAt: 1, data: { user: 'ann' } }
  const whole = hostileJson({ version: 1, oauth_tokens: { ann: record }, leases: {} })
  const files = fc.oneof(
    whole,
    hostileJson(record).map((text) => `{"version":1,"oauth_tokens":{"ann":${text}}}`),
    hostileJson({ ann: record }).map((text) => `{"version":1,"oauth_tokens":${text}}`),
  )
  const results = { read: 0, refused: 0 }
  fc.assert(
    fc.property(files, (text) => {
      try {
        const tables = parseTables('store.json', Buffer.from(text))
        results.read++
        const written = [...renderTables(tables, -Infinity)].join('')
        return parseTables('store.json', Buffer.from(written)).size === tables.size
      } catch (error) {
        results.refused++
        return (
          error instanceof McpDcrError && error.code === 'store_corrupt' && !error.message.includes('ann')
        )
      }
    }),
    MANY,
  )
  expect(Math.min(results.read, results.refused)).toBeGreaterThan(500)
}, 120_000)
