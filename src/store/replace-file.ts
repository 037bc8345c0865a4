import { open, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { writeFileAtomic } from '../modules.js'

const NOTHING = Buffer.alloc(0)

/**
 * Replaces a file as a whole, part by part, with mode 0600: resolves when the new content is on disk; on a rejection the
 * earlier content is intact.
 *
 * The content is written by the hook, not by write-file-atomic 7.0.1: that calls write(2) once and ignores
 * its result, so that on a nearly full disk it renames a truncated file over the good one and resolves.
 */
export async function replaceFile(path: string, content: Iterable<string>): Promise<void> {
  const { default: replaceAtomically } = await writeFileAtomic()
  const fill = (temporary: string): Promise<void> => writeFile(temporary, content)
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- it is awaited, though its type says void
  await replaceAtomically(path, NOTHING, { mode: 0o600, tmpfileCreated: fill })
  // The rename itself survives a power cut only once the directory is synced. It has happened, so a
  // failure here must not be reported as "nothing was changed"; Windows cannot open a directory at all.
  await syncDirectory(dirname(path)).catch(() => undefined)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
