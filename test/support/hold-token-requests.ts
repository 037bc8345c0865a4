import { gate } from '../store/support.js'
import type { TestServer } from './server.js'

/** Holds the token requests that come from now on: `arrived` when one has, and all are answered from `answer()` on. */
export function holdTokenRequests(server: TestServer): { arrived: Promise<void>; answer: () => void } {
  const [arrived, answered] = [gate(), gate()]
  server.intercept = async (_req, _res, { path }) => {
    if (path !== '/token') return false
    arrived.open()
    await answered.opened
    return false
  }
  return { arrived: arrived.opened, answer: answered.open }
}
