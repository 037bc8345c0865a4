import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'

/**
 * Makes a directory that is ours alone, mode 0700, if there is none; under its default name out of version
 * control too, since the key may lie in it, beside the tokens.
 */
export function makePrivateDirectory(path: string): void {
  const isNew = mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined
  if (isNew && resolve(path).split(sep).includes('.mcp-dcr')) writeFileSync(join(path, '.gitignore'), '*\n')
}
