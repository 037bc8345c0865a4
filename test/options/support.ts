import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import type { Config, Options } from '../../src/options.js'
import { resolveOptions } from '../../src/resolve-options.js'

/** A directory of this test alone. */
export function emptyDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-dcr-options-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** The options resolved in an empty environment and directory. What is not TypeScript's business is `unknown`. */
export function resolved(options?: unknown, env: NodeJS.ProcessEnv = {}): Config {
  return resolveOptions(options as Options | undefined, env, emptyDirectory())
}

/** The McpDcrError that this throws, and nothing else. */
export function errorOf(throws: () => unknown): McpDcrError {
  try {
    throws()
  } catch (error) {
    if (error instanceof McpDcrError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
