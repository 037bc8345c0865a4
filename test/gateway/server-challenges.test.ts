import { expect, it } from 'vitest'
import { createServerChallenges } from '../../src/gateway/server-challenges.js'
import { createOAuthContext, declare, expectFailure, startFake, status } from '../oauth/support.js'

it('a server that fails to answer with its challenge is asked again after five seconds, and not before', async () => {
  const context = createOAuthContext()
  const fake = await startFake({ '/mcp': status(503) })
  const server = declare(`${fake.url}/mcp`)
  const challenges = createServerChallenges(context)
  expect(await Promise.all([challenges.of(server), challenges.of(server)])).toEqual([undefined, undefined])
  fake.replies['/mcp'] = status(401, { 'www-authenticate': 'Bearer scope="read"' })
  context.pass(4999)
  expect(await challenges.of(server)).toBeUndefined()
  expect(fake.count('POST', '/mcp')).toBe(1)
  context.pass(1)
  expect(await challenges.of(server)).toEqual({ scope: 'read' })
  expect(fake.count('POST', '/mcp')).toBe(2)
})

it('whoever warms a server asks it at once', async () => {
  const context = createOAuthContext()
  const fake = await startFake({ '/mcp': status(503) })
  const server = declare(`${fake.url}/mcp`)
  const challenges = createServerChallenges(context)
  for (let n = 0; n < 2; n++) await expectFailure(challenges.ask(server), 'request_failed', 'status 503')
  expect(fake.count('POST', '/mcp')).toBe(2)
})
