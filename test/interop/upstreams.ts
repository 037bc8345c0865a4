import type { World } from '../support/gateway.js'
import type { TestServer } from '../support/server.js'
import { startModernMcpServer } from './modern-mcp-server.js'

/** A kind of MCP server, of the world's authorization server. */
export interface Upstream {
  readonly name: string
  readonly newestVersion: string
  /** Whether it keeps a session for each client. */
  readonly sessions: boolean
  /** Whether it tells of progress: an answer that is JSON has no place for it. */
  readonly streams: boolean
  start(world: World): Promise<TestServer>
}

export const UPSTREAMS: readonly Upstream[] = [
  {
    name: 'SDK 1.32, JSON',
    newestVersion: '2025-11-25',
    sessions: false,
    streams: false,
    start: (world) => world.addMcpServer(),
  },
  {
    name: 'SDK 1.32, sessions and event streams',
    newestVersion: '2025-11-25',
    sessions: true,
    streams: true,
    start: (world) => world.addMcpServer({ sessions: true, answerAs: 'event-stream' }),
  },
  {
    name: 'SDK 2.4',
    newestVersion: '2026-07-28',
    sessions: false,
    streams: true,
    start: ({ authorizationServer }) => startModernMcpServer(authorizationServer),
  },
]
