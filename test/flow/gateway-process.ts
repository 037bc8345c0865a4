/** A gateway in a process of its own: says its URL, then serves until it is killed. */
import { startDcrGateway } from '../support/dcr-gateway.js'

const [, , directory = '', mcpServer = ''] = process.argv
const { url } = await startDcrGateway({
  servers: { notes: mcpServer },
  directory,
  options: () => ({ admin: () => true }),
})
process.stdout.write(`${url}\n`)
