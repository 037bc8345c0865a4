import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { replaceHeader } from '../../src/gateway/replace-header.js'

function requestWith(headers: object, ...rawHeaders: string[]): IncomingMessage {
  return { headers: { ...headers }, rawHeaders } as unknown as IncomingMessage
}

it('replaces a header in both of its forms, once, where it was', () => {
  const req = requestWith({ a: '1', b: '2' }, 'A', '1', 'a', 'more', 'B', '2')
  replaceHeader(req, 'a', 'new')
  expect(req).toEqual({ headers: { a: 'new', b: '2' }, rawHeaders: ['A', 'new', 'B', '2'] })
})

it('adds one that is not there', () => {
  const req = requestWith({ b: '2' }, 'B', '2')
  replaceHeader(req, 'a', 'new')
  expect(req).toEqual({ headers: { a: 'new', b: '2' }, rawHeaders: ['B', '2', 'a', 'new'] })
})

it.each([
  ['from both', { authorization: 'Bearer client', b: '2' }],
  ['from the raw headers alone, where somebody has removed it from the others', { b: '2' }],
])('removes one %s', (_from, headers) => {
  const req = requestWith(headers, 'Authorization', 'Bearer client', 'B', '2')
  replaceHeader(req, 'authorization', undefined)
  expect(req).toEqual({ headers: { b: '2' }, rawHeaders: ['B', '2'] })
})
