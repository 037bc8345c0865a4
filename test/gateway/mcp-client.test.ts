import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { createMcpSessions, type McpClient } from '../../src/gateway/mcp-client.js'

/** What is known of the client of a session that was opened with this id. */
function clientOf(sessionId: string): McpClient {
  const sessions = createMcpSessions()
  const params = { protocolVersion: '2025-11-25', capabilities: { elicitation: { url: {} } } }
  sessions.open('notes', sessionId, { id: 1, method: 'initialize', params })
  const req = { headers: { 'mcp-session-id': sessionId } } as unknown as IncomingMessage
  return sessions.clientOf(req, 'notes', { id: 2, method: 'tools/list', params: {} })
}

it('a session is remembered by an id of 1,024 characters at the most', () => {
  expect(clientOf('s'.repeat(1024)).opensUrls).toBe(true)
  expect(clientOf('s'.repeat(1025)).opensUrls).toBe(false)
})
