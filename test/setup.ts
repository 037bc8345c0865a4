import { forgetHeld } from './support/orphans.js'

// Files share the modules of their worker, which saves a third of the time; a server may have the port of an earlier one.
forgetHeld()
