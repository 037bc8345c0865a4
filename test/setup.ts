// Its agent is that of `fetch` where it is loaded first: Node 20's own uses connections that a closed gateway has ended.
import 'undici'
import { forgetHeld } from './support/orphans.js'

// Files share the modules of their worker, which saves a third of the time; a server may have the port of an earlier one.
forgetHeld()
