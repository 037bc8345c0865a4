import { rmSync } from 'node:fs'
import { freePort, serverDirectory, startServer, type RunningServer } from './start-server.js'

/**
 * Starts the machine's redis-server on a free port of loopback, its data in memory.
 *
 * @param settings more of its arguments
 * @throws Error where there is none, or it does not start
 */
export async function startRedis(settings: readonly string[] = []): Promise<RunningServer> {
  const port = await freePort()
  const directory = serverDirectory('redis')
  try {
    const stop = await startServer({
      command: 'redis-server',
      args: ['--port', String(port), '--bind', '127.0.0.1', '--save', '', ...settings],
      signal: 'TERM',
      ready: 'Ready to accept connections',
      directory,
    })
    return { url: `redis://127.0.0.1:${port}`, stop }
  } catch (cause) {
    rmSync(directory, { recursive: true, force: true })
    throw new Error(
      'No Redis could be started, so its store was not tested. Install one (sudo apt-get install redis-server; ' +
        'brew install redis), or name an empty database: TEST_REDIS_URL=redis://… npm test',
      { cause },
    )
  }
}
